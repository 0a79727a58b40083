// Package registrytest is a registry for tests that can misbehave: go-containerregistry's, in memory, behind a handler
// in which a test breaks what it wants to see broken. It listens on loopback.
package registrytest

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// A Server is one registry.
type Server struct {
	Host string // 127.0.0.1:port
	t    testing.TB
	good http.Handler

	mu       sync.Mutex
	fault    func(w http.ResponseWriter, r *http.Request) bool
	requests []string
}

// New starts a registry that ends with the test.
func New(t testing.TB) *Server {
	s := &Server{t: t, good: registry.New(registry.Logger(log.New(io.Discard, "", 0)))}
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	s.Host = strings.TrimPrefix(server.URL, "http://")
	return s
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	request := r.Method + " " + r.URL.Path
	if where := r.Header.Get("Range"); where != "" {
		request += " " + where
	}
	s.requests = append(s.requests, request)
	fault := s.fault
	s.mu.Unlock()
	if fault == nil || !fault(w, r) {
		s.Good(w, r)
	}
}

// Good answers r as a registry should, if not stated otherwise with ranges.
func (s *Server) Good(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/blobs/") {
		body := s.answer(r)
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(body)) // go-containerregistry wants both ends of a range
		return
	}
	s.good.ServeHTTP(w, r)
}

func (s *Server) answer(r *http.Request) []byte {
	plain := r.Clone(r.Context())
	plain.Header.Del("Range")
	recorder := httptest.NewRecorder()
	s.good.ServeHTTP(recorder, plain)
	return recorder.Body.Bytes()
}

// Break makes fault see each request first; it answers whether it has dealt with it.
func (s *Server) Break(fault func(w http.ResponseWriter, r *http.Request) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = fault
}

// Requests returns what was asked since the last call: "GET /v2/…", and the Range if there was one.
func (s *Server) Requests() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := s.requests
	s.requests = nil
	return all
}

// Cut answers r well, but hangs up after n bytes of the body.
func (s *Server) Cut(w http.ResponseWriter, r *http.Request, n int) {
	recorder := httptest.NewRecorder()
	s.Good(recorder, r)
	for k, v := range recorder.Header() {
		w.Header()[k] = v
	}
	body := recorder.Body.Bytes()
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(recorder.Code)
	w.Write(body[:min(n, len(body))]) //nolint:errcheck // a test's handler
	if n < len(body) {
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}
}

// IsBlob reports whether r asks for that blob, or with "" for any.
func IsBlob(r *http.Request, d digest.Digest) bool {
	return r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/blobs/"+string(d))
}

// PutBlob stores a blob.
func (s *Server) PutBlob(repo, mediaType string, data []byte) ocispec.Descriptor {
	d := ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(data), Size: int64(len(data))}
	s.put(http.MethodPost, "/v2/"+repo+"/blobs/uploads/?digest="+d.Digest.String(), "application/octet-stream", data)
	return d
}

// PutManifest stores a document under a tag, or under its digest if tag is "".
func (s *Server) PutManifest(repo, tag, mediaType string, document any) ocispec.Descriptor {
	data, raw := document.([]byte)
	if !raw {
		var err error
		if data, err = json.Marshal(document); err != nil {
			s.t.Fatal(err)
		}
	}
	d := ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(data), Size: int64(len(data))}
	if tag == "" {
		tag = d.Digest.String()
	}
	s.put(http.MethodPut, "/v2/"+repo+"/manifests/"+tag, mediaType, data)
	return d
}

func (s *Server) put(method, target, mediaType string, data []byte) {
	r := httptest.NewRequest(method, target, bytes.NewReader(data))
	r.Header.Set("Content-Type", mediaType)
	w := httptest.NewRecorder()
	s.good.ServeHTTP(w, r)
	if w.Code != http.StatusCreated {
		s.t.Fatalf("%s %s: %d %s", method, target, w.Code, w.Body)
	}
}

// A Layer is a layer before it is pushed.
type Layer struct {
	MediaType string
	Blob      []byte
	DiffID    digest.Digest
}

// Digest is the digest of the blob as it is.
func (l Layer) Digest() digest.Digest { return digest.FromBytes(l.Blob) }

// Tar packs files, by name, into a plain layer.
func Tar(t testing.TB, files map[string][]byte) Layer {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for name, content := range files {
		h := &tar.Header{Name: name, Mode: 0o644, Size: int64(len(content)), Typeflag: tar.TypeReg, ModTime: time.Unix(1, 0)}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		w.Write(content) //nolint:errcheck // Close tells
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return Layer{ocispec.MediaTypeImageLayer, b.Bytes(), digest.FromBytes(b.Bytes())}
}

// Gzip compresses a plain layer.
func (l Layer) Gzip() Layer {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	w.Write(l.Blob) //nolint:errcheck // into memory
	w.Close()
	return Layer{ocispec.MediaTypeImageLayerGzip, b.Bytes(), l.DiffID}
}

// Zstd compresses a plain layer.
func (l Layer) Zstd() Layer {
	w, _ := zstd.NewWriter(nil)
	return Layer{ocispec.MediaTypeImageLayerZstd, w.EncodeAll(l.Blob, nil), l.DiffID}
}

// Image is a manifest with everything that it needs.
func (s *Server) Image(repo string, p ocispec.Platform, layers ...Layer) ocispec.Manifest {
	config := ocispec.Image{Platform: p, RootFS: ocispec.RootFS{Type: "layers"}}
	m := ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest}
	for _, l := range layers {
		config.RootFS.DiffIDs = append(config.RootFS.DiffIDs, l.DiffID)
		m.Layers = append(m.Layers, s.PutBlob(repo, l.MediaType, l.Blob))
	}
	data, err := json.Marshal(config)
	if err != nil {
		s.t.Fatal(err)
	}
	m.Config = s.PutBlob(repo, ocispec.MediaTypeImageConfig, data)
	return m
}

// Push is Image and PutManifest.
func (s *Server) Push(repo, tag string, p ocispec.Platform, layers ...Layer) ocispec.Descriptor {
	return s.PutManifest(repo, tag, ocispec.MediaTypeImageManifest, s.Image(repo, p, layers...))
}
