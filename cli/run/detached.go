package run

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"codeberg.org/minipod/minipod/events"
	"codeberg.org/minipod/minipod/internal/hint"
	"codeberg.org/minipod/minipod/internal/linux"
	"codeberg.org/minipod/minipod/runtime"
	"codeberg.org/minipod/minipod/state"
	"codeberg.org/minipod/minipod/supervisor"
)

// detached makes the container and, unless it is only to be created, leaves a supervisor behind that runs it. Its id is the answer.
func (r *run) detached() error {
	exists := func(name string) bool { _, err := os.Lstat(name); return err == nil }
	if warning := logoutWarning(exists, cmp.Or(os.Getenv("USER"), os.Getenv("LOGNAME")), os.Geteuid()); warning != "" && !r.create {
		fmt.Fprintf(os.Stderr, "minipod: warning: %s\n", warning)
	}
	swept := make(chan error, 1)
	go func() { swept <- r.sweep() }()
	c, err := r.make(r.record())
	if err != nil {
		return errors.Join(err, <-swept)
	}
	record := c.Record
	if err := r.complete(c); err != nil {
		return errors.Join(err, <-swept, finish(r.dirs, r.uids, r.gids, c, false, false))
	}
	if e := Tell(r.dirs, "create", &record); e != nil {
		fmt.Fprintf(os.Stderr, "minipod: warning: %v\n", e)
	}
	if r.create {
		err = c.Close()
	} else if err = Leave(r.dirs, c); err != nil { // it never ran, so it is not kept
		if c, e := runtime.Adopt(r.dirs, record); e == nil {
			err = errors.Join(err, finish(r.dirs, r.uids, r.gids, c, false, false))
		}
	}
	if e := <-swept; e != nil {
		fmt.Fprintf(os.Stderr, "minipod: warning: clean up after a container that died: %v\n", e)
	}
	if err == nil {
		_, err = fmt.Println(record.ID)
	}
	return err
}

// logoutWarning says, before a container is left behind, that systemd ends it with the user's last session; "" where it does not. It
// does so to what is below the user's own manager, and that is where the container's group is.
func logoutWarning(exists func(name string) bool, user string, uid int) string {
	switch {
	case user == "", !exists("/run/systemd/system"), !exists(fmt.Sprintf("/run/user/%d/systemd", uid)), exists("/var/lib/systemd/linger/" + user):
		return ""
	}
	return "the container ends when you log out of your last session: sudo loginctl enable-linger " + user + " lets it run on"
}

// complete makes the container one that any command can start.
func (r *run) complete(c *runtime.Container) error {
	b := r.bundle()
	if err := r.describe(c, b); err != nil {
		return err
	}
	var err error
	if b.Flags, err = json.Marshal(r.Run); err != nil {
		return err
	}
	if err := c.SaveBundle(b); err != nil {
		return err
	}
	c.Ready = true
	return c.Save()
}

// Leave leaves a supervisor behind that starts the container, and returns when its command runs. c is not the caller's any more.
func Leave(dirs state.Dirs, c *runtime.Container) error {
	s, err := supervisor.Spawn(dirs, c)
	if err != nil {
		return err
	}
	return s.Go()
}

// Supervise is the life of a supervisor that was left behind.
func Supervise() (status int) {
	defer lockThread()() // the sandbox dies with the thread that forked it
	birth, err := supervisor.Take()
	if err != nil {
		return hint.ExitRuntime
	}
	if err := supervise(birth); err != nil {
		birth.Failed(err)
		return hint.ExitRuntime
	}
	return 0
}

// supervise returns an error where the container did not start. It stays as it was, then.
func supervise(birth *supervisor.Birth) error {
	c := birth.Container
	b, err := runtime.LoadBundle(birth.Dirs, c.ID)
	if err != nil {
		return errors.Join(err, c.Close())
	}
	r := &run{dirs: birth.Dirs, uids: b.UIDs, gids: b.GIDs}
	s := &supervisor.Supervisor{Container: c, Bundle: b, Events: events.Open(birth.Dirs), Flatten: r.flatten, Started: birth.Started}
	if err := s.Listen(); err != nil {
		return errors.Join(err, c.Close())
	}
	go stopAtTerm(s)
	if err := birth.Ready(); err != nil {
		return errors.Join(err, s.Close(), c.Close())
	}
	stay := leaveWithFolder(c)
	_, ran, err := s.Run(nil, nil)
	stay()
	ended := s.Close()
	s.Recorded()
	if !ran {
		c.Error = err.Error()
		return errors.Join(err, ended, c.Save(), c.Close())
	}
	_ = finish(birth.Dirs, b.UIDs, b.GIDs, c, true, s.Kept()) // nobody hears us: what is left is the next command's to sweep
	return nil
}

// stopAtTerm stops the container in its own way when somebody ends us in theirs: a shutdown, or a logout without linger.
func stopAtTerm(s *supervisor.Supervisor) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM)
	<-signals
	_ = s.Stop() // nobody hears us; Run returns
}

// leaveWithFolder ends us, and thereby the container, when somebody removes its folder: nobody could find it any more, nor is there a place for what
// it does. The function that it returns ends that.
func leaveWithFolder(c *runtime.Container) (stay func()) {
	ctx, cancel := context.WithCancel(context.Background())
	timer := time.AfterFunc(soon, func() {
		if err := linux.AwaitUnlink(ctx, c.Lock().File()); err == nil && ctx.Err() == nil {
			os.Exit(hint.ExitRuntime)
		}
	})
	return func() { timer.Stop(); cancel() }
}

// soon is when we begin to look: most containers have ended by then.
const soon = time.Second
