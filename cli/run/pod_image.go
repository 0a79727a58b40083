package run

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"codeberg.org/minipod/minipod/cli/flags"
	"codeberg.org/minipod/minipod/image/reference"
	"codeberg.org/minipod/minipod/image/store"
	"codeberg.org/minipod/minipod/kube/event"
	"codeberg.org/minipod/minipod/pod"
	"codeberg.org/minipod/minipod/runtime/caps"
	"codeberg.org/minipod/minipod/runtime/seccomp/cache"
	"codeberg.org/minipod/minipod/state"
)

// pull sees to the container's image by its pull policy. Afterwards the image's name is pinned.
func (s *podStart) pull(ctx context.Context) error {
	image := s.Container.Image
	name := s.h.config.Qualify(image)
	if _, err := reference.Parse(name); err != nil {
		s.Tell(event.Warning, "InspectFailed", "Failed to apply default image tag %q: couldn't parse image name %q: %v", image, image, err)
		return failuref(pod.InvalidImageName, "Failed to apply default image tag %q: couldn't parse image name %q: %v", image, image, err)
	}
	s.h.pulling.Lock()
	defer s.h.pulling.Unlock()
	if err := ctx.Err(); err != nil {
		return failure(pod.ErrImagePull, err)
	}
	policy := s.Container.ImagePullPolicy
	if policy != "Always" {
		found, err := s.find(name)
		if err != nil {
			return failure(pod.CreateContainerError, err)
		}
		if found {
			s.Tell(event.Normal, "Pulled", "Container image %q already present on machine", image)
			return nil
		}
		if policy == "Never" {
			s.Tell(event.Warning, pod.ErrImageNeverPull, "Container image %q is not present with pull policy of Never", image)
			return failuref(pod.ErrImageNeverPull, "Container image %q is not present with pull policy of Never", image)
		}
	}
	s.Tell(event.Normal, "Pulling", "Pulling image %q", image)
	began := time.Now()
	err := s.h.pullImage(ctx, name)
	if err == nil {
		var found bool
		if found, err = s.find(name); err == nil && !found {
			err = errors.New("it was removed again at once")
		}
	}
	if ctx.Err() != nil { // nobody wants it any more
		return failure(pod.ErrImagePull, ctx.Err())
	}
	if err != nil {
		s.Tell(event.Warning, "Failed", "Failed to pull image %q: %v", image, err)
		return failure(pod.ErrImagePull, err)
	}
	took := time.Since(began).Round(time.Millisecond)
	s.Tell(event.Normal, "Pulled", "Successfully pulled image %q in %s (%s including waiting). Image size: %d bytes.", image, took, took, s.r.image.Size)
	return nil
}

// find looks the image up, and pins its name where it is there.
func (s *podStart) find(name string) (bool, error) {
	r := s.r
	if err := r.pin(); err != nil {
		return false, err
	}
	var err error
	if r.image, err = r.lookUp(name); err == nil {
		return true, nil
	}
	r.unpin() // who tags waits for it
	r.unpin = func() {}
	if errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrNotUnpacked) {
		return false, nil
	}
	return false, err
}

// pullImage pulls an image by a second minipod, which says on standard error what it could not do.
func (h *podHost) pullImage(ctx context.Context, name string) error {
	text, status, err := h.insideQuietly(ctx, []string{"pull", "--quiet", name})
	switch {
	case err != nil:
		return err
	case status != 0:
		return errors.New(text)
	}
	return nil
}

// insideQuietly runs Inside, and returns what it said on standard error: the error without what it is to a person.
func (h *podHost) insideQuietly(ctx context.Context, args []string) (text string, status int, err error) {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return "", 0, err
	}
	defer null.Close()
	r, w, err := os.Pipe()
	if err != nil {
		return "", 0, err
	}
	defer r.Close()
	said := make(chan string, 1)
	go func() { said <- errorIn(r) }()
	status, err = Inside(ctx, h.uids, h.gids, args, [3]*os.File{null, null, w})
	w.Close()
	return <-said, status, err
}

// errorIn finds the error among what a minipod says: the lines of hint.Print.
func errorIn(r *os.File) string {
	var found, last string
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		line := strings.TrimSpace(lines.Text())
		if rest, ok := strings.CutPrefix(line, "error: "); ok {
			found = rest
		} else if rest, ok := strings.CutPrefix(line, "minipod: "); ok && !strings.HasPrefix(rest, "warning") {
			found = rest
		} else if line != "" && !strings.HasPrefix(line, "hint: ") {
			last = line
		}
	}
	if found == "" {
		found = last
	}
	return found
}

// CompileVerb is the verb of our own process that compiles a seccomp filter into the cache: its argument is the capabilities, a comma and the
// profile's path.
const CompileVerb = "compile-seccomp"

// findSeccompOf is findSeccomp where there are no parts: what is not in the cache a second minipod compiles.
func (r *run) findSeccompOf(h *podHost) error {
	err := r.findSeccomp()
	if !errors.Is(err, ErrCold) {
		return err
	}
	text, status, err := h.insideQuietly(context.Background(), []string{CompileVerb, strconv.FormatUint(uint64(r.caps), 16) + "," + r.Seccomp})
	if err != nil {
		return err
	}
	if status != 0 {
		return fmt.Errorf("compile the seccomp profile: %s", text)
	}
	key, err := r.seccompKey()
	if err != nil {
		return err
	}
	if r.seccomp = cache.Get(filepath.Join(r.dirs.Data, "seccomp"), key); r.seccomp == nil {
		return errors.New("compile the seccomp profile: it is not in the cache")
	}
	return nil
}

// CompileSeccomp is `minipod inside compile-seccomp`.
func CompileSeccomp(argument string, parts *Parts) error {
	set, profile, _ := strings.Cut(argument, ",")
	n, err := strconv.ParseUint(set, 16, 64)
	if err != nil {
		return err
	}
	r := &run{Run: &flags.Run{Seccomp: profile}, parts: parts, caps: caps.Set(n)}
	if r.dirs, err = state.Find(os.Getenv); err != nil {
		return err
	}
	return r.findSeccomp()
}
