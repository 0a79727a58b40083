package registry

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"codeberg.org/minipod/minipod/internal/hint"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

// The kinds of refusal.
var (
	ErrNotFound    = errors.New("no such image")
	ErrDenied      = errors.New("access denied")
	ErrUnreachable = errors.New("cannot be reached")
	ErrRateLimited = errors.New("too many requests")
	ErrInvalid     = errors.New("invalid answer") // what arrived is not what its descriptor or the protocol promises
)

// errStalled cancels a request whose body stopped coming.
var errStalled = errors.New("no data for a while")

// errPlainHTTP is the guard's refusal; see guard.
var errPlainHTTP = errors.New("plain HTTP is refused")

// A status is an HTTP answer other than the one we want.
type status struct {
	code   int
	retry  time.Duration // of Retry-After; 0 where there is none
	detail string        // the registry's own words
}

func (s *status) Error() string {
	text := fmt.Sprintf("HTTP %d %s", s.code, http.StatusText(s.code))
	if s.detail != "" {
		text += ": " + s.detail
	}
	return text
}

// checkStatus turns an unwanted answer into a status error and closes its body.
func checkStatus(resp *http.Response, wanted ...int) error {
	for _, code := range wanted {
		if resp.StatusCode == code {
			return nil
		}
	}
	defer resp.Body.Close()
	err := transport.CheckError(resp) // reads at most 64 KiB of the body
	return &status{code: resp.StatusCode, retry: retryAfter(resp.Header.Get("Retry-After")), detail: detail(err)}
}

// detail is the registry's explanation in one line; what it sends is foreign text and goes to a terminal.
func detail(err error) string {
	var te *transport.Error
	if !errors.As(err, &te) {
		return ""
	}
	var words []string
	for _, d := range te.Errors {
		if d.Message != "" {
			words = append(words, d.Message)
		} else if d.Code != "" {
			words = append(words, strings.ToLower(string(d.Code)))
		}
	}
	return printable(strings.Join(words, "; "))
}

func printable(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || (r >= 0x80 && r < 0xa0) {
			return ' '
		}
		return r
	}, s)
	if r := []rune(s); len(r) > 200 {
		return string(r[:200]) + "…"
	}
	return s
}

func retryAfter(value string) time.Duration {
	if n, err := strconv.Atoi(value); err == nil && n > 0 {
		return min(time.Duration(n), 24*3600) * time.Second
	}
	if at, err := http.ParseTime(value); err == nil {
		return max(0, time.Until(at))
	}
	return 0
}

// statusOf finds the HTTP status in err, of our own requests or of go-containerregistry's (ping and tokens).
func statusOf(err error) (*status, bool) {
	var s *status
	if errors.As(err, &s) {
		return s, true
	}
	var te *transport.Error
	if errors.As(err, &te) {
		return &status{code: te.StatusCode, detail: detail(te)}, true
	}
	return nil, false
}

// transient reports whether asking again soon may help.
func transient(err error) bool {
	if s, ok := statusOf(err); ok {
		switch s.code {
		case http.StatusRequestTimeout, http.StatusTooManyRequests, http.StatusInternalServerError,
			http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout, 499, 522, 524:
			return true
		}
		return false
	}
	// Whatever else went wrong between the request and the end of its answer: net/http and its HTTP/2 keep most of
	// those errors unexported.
	var request *url.Error
	var body *brokenBody
	return (errors.As(err, &request) || errors.As(err, &body)) && !distrust(err)
}

// A brokenBody is an answer that did not arrive whole.
type brokenBody struct{ error }

func (b *brokenBody) Unwrap() error { return b.error }

func isDial(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial"
}

// distrust reports whether the place answered, but not in a way that we may trust.
func distrust(err error) bool {
	var cert *tls.CertificateVerificationError
	var record tls.RecordHeaderError
	return !isDial(err) && (errors.As(err, &cert) || errors.As(err, &record) ||
		errors.Is(err, http.ErrSchemeMismatch) || errors.Is(err, errPlainHTTP))
}

// explain names the place, sorts err into a kind and attaches advice. what is the request's purpose in three words.
func (p *place) explain(what string, err error) error {
	if err == nil || errors.Is(err, context.Canceled) || isKind(err) {
		return err
	}
	if s, ok := statusOf(err); ok {
		return p.explainStatus(what, s)
	}
	if distrust(err) {
		return hint.Wrap(fmt.Errorf("%s from %s: %w: %w", what, p.host, ErrUnreachable, brief(err)),
			fmt.Sprintf(`if you trust the network to %s, allow plain HTTP and unknown certificates in %s: {"registries": {%q: {"insecure": true}}}`,
				p.host, p.repo.config.File(), p.host))
	}
	return hint.Wrap(fmt.Errorf("%s: registry %s %w: %w", what, p.host, ErrUnreachable, brief(err)),
		fmt.Sprintf(`check the network (a proxy: HTTPS_PROXY), or name a mirror that you can reach in %s: {"registries": {%q: {"mirrors": ["MIRROR"]}}}`,
			p.repo.config.File(), p.repo.registry))
}

func (p *place) explainStatus(what string, s *status) error {
	image := p.repo.registry + "/" + p.repo.repository
	switch s.code {
	case http.StatusNotFound:
		return hint.Wrap(fmt.Errorf("%s: registry %s has %w: %w", what, p.host, ErrNotFound, s),
			"check the spelling of the name and the tag; some registries also hide private images from those who did not log in")
	case http.StatusUnauthorized, http.StatusForbidden:
		if p.credentials != "" {
			return hint.Wrap(fmt.Errorf("%s: registry %s: %w: the credentials of %s were refused: %w", what, p.host, ErrDenied, p.credentials, s),
				fmt.Sprintf("log in again with an account that may pull %s: docker login %s, or podman login %s", image, p.host, p.host))
		}
		return hint.Wrap(fmt.Errorf("%s: registry %s: %w: %s does not exist or wants a login: %w", what, p.host, ErrDenied, image, s),
			fmt.Sprintf("check the name, or log in: docker login %s, or podman login %s (minipod reads ~/.docker/config.json and auth.json)", p.host, p.host))
	case http.StatusTooManyRequests:
		wait := ""
		if s.retry > 0 {
			wait = fmt.Sprintf(" in %s", s.retry.Round(time.Second))
		}
		return hint.Wrap(fmt.Errorf("%s: registry %s: %w: %w", what, p.host, ErrRateLimited, s),
			fmt.Sprintf("try again%s, log in for a higher limit (docker login %s), or name a mirror in %s", wait, p.host, p.repo.config.File()))
	}
	return hint.Wrap(fmt.Errorf("%s: registry %s %w: %w", what, p.host, ErrUnreachable, s),
		fmt.Sprintf("the registry is in trouble: try again later, or name a mirror for %s in %s", p.repo.registry, p.repo.config.File()))
}

func isKind(err error) bool {
	for _, kind := range []error{ErrNotFound, ErrDenied, ErrUnreachable, ErrRateLimited, ErrInvalid} {
		if errors.Is(err, kind) {
			return true
		}
	}
	return false
}

// brief strips net/http's `Get "https://…": ` from err: the message has said what was asked of whom.
func brief(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}
