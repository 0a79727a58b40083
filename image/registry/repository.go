package registry

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"codeberg.org/minipod/minipod/config"
	"codeberg.org/minipod/minipod/internal/hint"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

// A Repository is one repository of one registry, with the places that may serve it. Its methods may be called
// concurrently.
type Repository struct {
	registry   string // as in the reference: docker.io
	repository string // library/alpine
	config     *config.Config
	places     []*place
	retries    Retries

	mu      sync.Mutex
	serving int // index of the place that served the last manifest; blobs are asked there first
}

// Options are what a Repository needs of its surroundings; the zero value is the process's.
type Options struct {
	Config  *config.Config
	Getenv  func(string) string // for the credential files; nil means os.Getenv
	Dial    Dial                // nil means the network
	Retries Retries
}

// A Dial connects to an address, as net.Dialer.DialContext does.
type Dial func(ctx context.Context, network, address string) (net.Conn, error)

// Retries says how often a request is repeated that failed in a way which may pass.
type Retries struct {
	Attempts int                        // in a row without progress; 0 means 5
	First    time.Duration              // before the second attempt; doubled each time, with jitter. 0 means 400 ms
	Longest  time.Duration              // a wait, be it the registry's Retry-After; beyond it the error is returned. 0 means 30 s
	Report   func(error, time.Duration) // hears of each wait for a manifest; nil for silence
	Stall    time.Duration              // without a byte of a body, after which its connection is given up. 0 means 45 s
}

// A place is one address that may serve the repository: a mirror or the registry itself.
type place struct {
	repo        *Repository
	host        string // as configured: docker.io
	repository  string // with the mirror's prefix
	insecure    bool
	registry    name.Registry
	transports  transports
	files       []string
	credentials string // the file they came from

	mu        sync.Mutex
	connected http.RoundTripper // authenticating; nil until connect succeeds
}

// Open returns the repository at registry ("docker.io", "127.0.0.1:5000"). Nothing is asked of the network yet.
func Open(registry, repository string, o Options) (*Repository, error) {
	if o.Config == nil {
		o.Config = config.Default()
	}
	if o.Getenv == nil {
		o.Getenv = os.Getenv
	}
	if o.Dial == nil {
		o.Dial = (&net.Dialer{Timeout: connectTimeout, KeepAlive: 15 * time.Second}).DialContext
	}
	r := &Repository{registry: registry, repository: repository, config: o.Config, retries: o.Retries.withDefaults()}
	settings := o.Config.Registry(registry)
	shared, files := newTransports(o.Dial), credentialFiles(o.Getenv)
	add := func(host, path string, insecure bool) error {
		insecure = insecure || isLoopback(host)
		var options []name.Option
		if insecure {
			options = append(options, name.Insecure)
		}
		reg, err := name.NewRegistry(host, options...)
		if err != nil {
			return hint.Wrap(fmt.Errorf("registry %s: %w", host, err), "write the registry as host or host:port")
		}
		r.places = append(r.places, &place{
			repo: r, host: host, repository: path, insecure: insecure, registry: reg, transports: shared, files: files,
		})
		return nil
	}
	for _, m := range settings.Mirrors {
		bare, plain := strings.CutPrefix(m, "http://")
		host, prefix, _ := strings.Cut(strings.TrimPrefix(bare, "https://"), "/")
		path := strings.TrimPrefix(strings.Trim(prefix, "/")+"/"+repository, "/")
		if err := add(host, path, plain || o.Config.Registry(host).Insecure); err != nil {
			return nil, err
		}
	}
	return r, add(registry, repository, settings.Insecure)
}

// eachPlace calls ask for the places, the serving one first, until one succeeds. The error is that of the last place
// asked, which with mirrors is the registry's own, with what the others said in its text.
func (r *Repository) eachPlace(ctx context.Context, what string, ask func(*place) error) error {
	r.mu.Lock()
	first := r.serving
	r.mu.Unlock()
	order := append([]int{first}, make([]int, 0, len(r.places))...)
	for i := range r.places {
		if i != first {
			order = append(order, i)
		}
	}
	var before []string
	var err error
	for n, i := range order {
		err = ask(r.places[i])
		if err == nil {
			r.mu.Lock()
			r.serving = i
			r.mu.Unlock()
			return nil
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		err = r.places[i].explain(what, err)
		if n < len(order)-1 {
			before = append(before, err.Error())
		}
	}
	if len(before) == 0 {
		return err
	}
	return hint.Wrap(fmt.Errorf("%w (before that: %s)", err, strings.Join(before, "; ")), hint.Of(err))
}

// Places names the places in the order in which they are asked.
func (r *Repository) Places() []string {
	var hosts []string
	for _, p := range r.places {
		hosts = append(hosts, p.host)
	}
	return hosts
}

// Discredit makes the place that serves the last to be asked from now on, since what came from there was wrong. It
// answers whether there is another one.
func (r *Repository) Discredit() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.serving = (r.serving + 1) % len(r.places)
	return len(r.places) > 1
}

// Invalid is an ErrInvalid, with advice, about what the serving place sent.
func (r *Repository) Invalid(format string, args ...any) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.places[r.serving].invalid(format, args...)
}

// Close drops the idle connections. Streams that are still open go on.
func (r *Repository) Close() error {
	for _, p := range r.places {
		p.transports.close()
	}
	return nil
}

// Serving names the place that answered last, for messages.
func (r *Repository) Serving() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.places[r.serving].host
}

// do sends one request for path below the repository, connecting first where necessary. The answer's status is not
// checked and its body is the caller's to close.
func (p *place) do(ctx context.Context, path string, header http.Header) (*http.Response, error) {
	rt, err := p.connect(ctx)
	if err != nil {
		return nil, err
	}
	// The scheme is go-containerregistry's to choose: the ping found out which one works.
	u := url.URL{Scheme: "https", Host: p.registry.RegistryStr(), Path: "/v2/" + p.repository + "/" + path}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, err
	}
	req.Header = header
	return (&http.Client{Transport: rt}).Do(req) // follows ten redirects and drops credentials across hosts
}

// connect learns whether the place speaks TLS and how it authenticates, once.
func (p *place) connect(ctx context.Context) (http.RoundTripper, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.connected != nil {
		return p.connected, nil
	}
	auth, from, err := credentials(p.files, p.host, p.repository)
	if err != nil {
		return nil, err
	}
	p.credentials = from
	base := p.transports.verified
	if p.insecure {
		base = p.transports.insecure
	}
	scope := p.registry.Repo(p.repository).Scope(transport.PullScope)
	rt, err := transport.NewWithContext(ctx, p.registry, auth, transport.NewUserAgent(base, "minipod"), []string{scope})
	if err != nil {
		return nil, err
	}
	p.connected = rt
	return rt, nil
}

// attempt calls f until it succeeds, fails for good, or has failed too often. report may be nil.
func (p *place) attempt(ctx context.Context, report func(error, time.Duration), f func() error) error {
	for n := 1; ; n++ {
		err := f()
		if err == nil {
			return nil
		}
		if stop := p.pause(ctx, n, err, report); stop != nil {
			return stop
		}
	}
}

// pause sleeps after n failures in a row, the last being err, or returns why there will be no further attempt.
func (p *place) pause(ctx context.Context, n int, err error, report func(error, time.Duration)) error {
	r := p.repo.retries
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if n >= p.attempts(err) {
		return err
	}
	wait := min(r.First<<(n-1), r.Longest)
	wait = wait/2 + jitter(wait/2)
	if s, ok := statusOf(err); ok && s.retry > 0 {
		if s.retry > r.Longest {
			return err // waiting an hour in silence is worse than saying so
		}
		wait = s.retry
	}
	if report != nil {
		report(brief(err), wait)
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// attempts is how often a request that failed with err is worth making. A place that never answered gets one chance,
// or two if it was at least found: somebody waits, and there may be a mirror.
func (p *place) attempts(err error) int {
	p.mu.Lock()
	stranger := p.connected == nil
	p.mu.Unlock()
	_, answered := statusOf(err)
	switch {
	case isDial(err) && stranger, !isDial(err) && !transient(err):
		return 1
	case stranger && !answered:
		return min(2, p.repo.retries.Attempts)
	}
	return p.repo.retries.Attempts
}

func (r Retries) withDefaults() Retries {
	if r.Attempts == 0 {
		r.Attempts = 5
	}
	if r.First == 0 {
		r.First = 400 * time.Millisecond
	}
	if r.Longest == 0 {
		r.Longest = 30 * time.Second
	}
	if r.Stall == 0 {
		r.Stall = 45 * time.Second
	}
	return r
}
