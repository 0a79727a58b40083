package pod

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strings"
	"syscall"
	"time"

	"codeberg.org/minipod/minipod/internal/linux"
	"codeberg.org/minipod/minipod/state"
)

// A pod's supervisor is "minipod supervisor pod/NAMESPACE/NAME". It is born with a socket to who starts it, and with the pod's lock:
//
//	command                                  supervisor (born with the lock, fd 4)
//	  fork, execve  ──────────────────────►
//	  hello {dirs, uid} ──────────────────►  takes the pod over, writes supervisor.json
//	         ◄───────────────ready or error
const (
	supervisorRole = "supervisor"
	rolePrefix     = "pod/"
	birthFD        = 3
	lockFD         = 4
)

type hello struct {
	Dirs state.Dirs
	UID  string
}

type answer struct {
	Error string `json:",omitempty"`
}

// Start leaves a supervisor behind for the pod, and returns when that is ready to be poked. A pod that has one is left alone.
func Start(dirs state.Dirs, uid string) error {
	s, err := Get(dirs, uid)
	if err != nil {
		return err
	}
	lock, err := takeLock(s)
	switch {
	case errors.Is(err, state.ErrLocked):
		return nil
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("pod %s %w", uid, ErrNotFound)
	case err != nil:
		return fmt.Errorf("start pod %s: %w", s.Metadata.Name, err)
	}
	if err := spawn(s, lock); err != nil {
		return fmt.Errorf("start the supervisor of pod %s: %w", s.Metadata.Name, err)
	}
	return nil
}

// patience is how long takeLock waits for those who hold the lock of a pod that nobody supervises.
const patience = 10 * time.Second

// takeLock takes the lock of a pod that nobody supervises: state.ErrLocked says that somebody does. For a moment it is held by whoever looks,
// and by a supervisor that is being born.
func takeLock(s *Stored) (lock *state.Lock, err error) {
	for deadline := time.Now().Add(patience); ; time.Sleep(2 * time.Millisecond) {
		lock, err = state.TryLockThere(path.Join(s.Dir(), lockFile))
		if !errors.Is(err, state.ErrLocked) || time.Now().After(deadline) {
			return lock, err
		}
		if k, e := readKeeper(s.dirs, s.Metadata.UID); e == nil && linux.Alive(k.PID, k.Birth) {
			return nil, err
		}
	}
}

func spawn(s *Stored, lock *state.Lock) error {
	ours, theirs, err := linux.SocketPair()
	if err != nil {
		return errors.Join(err, lock.Unlock())
	}
	name := rolePrefix + s.Metadata.Namespace + "/" + s.Metadata.Name
	err = linux.SpawnSession("/proc/self/exe", []string{"minipod", supervisorRole, name}, theirs, lock.File())
	theirs.Close()
	if err = errors.Join(err, lock.Unlock()); err != nil {
		return errors.Join(err, ours.Close())
	}
	control, err := linux.AsSocket(ours)
	if err != nil {
		return err
	}
	defer control.Close()
	data, err := json.Marshal(hello{s.dirs, s.Metadata.UID})
	if err == nil {
		err = control.Send(data)
	}
	var a answer
	if err == nil {
		err = receive(control, &a)
	}
	if err == nil && a.Error != "" {
		err = errors.New(a.Error)
	}
	return err
}

func receive(s *linux.Socket, v any) error {
	buf := make([]byte, linux.MaxRecord)
	n, files, err := s.Receive(buf)
	for _, f := range files {
		f.Close()
	}
	if err == nil && n == 0 {
		err = errors.New("it ended without a word")
	}
	if err != nil {
		return err
	}
	return json.Unmarshal(buf[:n], v)
}

// Born tells whether this process is a pod's supervisor. A person who types the role's name has no control socket.
func Born(args []string) bool {
	return len(args) == 3 && args[0] == "minipod" && args[1] == supervisorRole && strings.HasPrefix(args[2], rolePrefix) && linux.IsSeqpacket(birthFD)
}

// A Birth is what a pod's supervisor begins with. It holds the pod's lock until it ends.
type Birth struct {
	Dirs state.Dirs
	UID  string

	control *linux.Socket
	lock    *state.Lock
}

// Take takes over what this process was born with.
func Take() (*Birth, error) {
	syscall.CloseOnExec(birthFD)
	control, err := linux.AsSocket(os.NewFile(birthFD, "birth"))
	if err != nil {
		return nil, err
	}
	var h hello
	if err := receive(control, &h); err != nil {
		return nil, err
	}
	b := &Birth{Dirs: h.Dirs, UID: h.UID, control: control}
	b.lock = state.Inherited(lockFD, path.Join(podDir(h.Dirs, h.UID), lockFile))
	return b, nil
}

// Ready says that the supervisor has begun, or why it can't. Before, it has to listen to pokes: a signal that nobody listens to kills.
func (b *Birth) Ready(failed error) error {
	var a answer
	if failed == nil {
		failed = b.enlist()
	}
	if failed != nil {
		a.Error = failed.Error()
	}
	data, err := json.Marshal(a)
	if err == nil {
		_ = b.control.Send(data) // nobody there: nobody to tell
	}
	return errors.Join(failed, err, b.control.Close())
}

// enlist writes down who supervises the pod. It is not synced: a power cut ends the supervisor, too.
func (b *Birth) enlist() error {
	k := keeper{PID: os.Getpid()}
	var err error
	if k.Birth, err = linux.StartTime(k.PID); err != nil {
		return err
	}
	data, err := json.Marshal(k)
	if err != nil {
		return err
	}
	err = put(podDir(b.Dirs, b.UID), supervisorFile, data)
	if isFull(err) {
		if s, e := Get(b.Dirs, b.UID); e == nil && s.Metadata.Deleted != nil { // there is nothing that we might have to be told
			return nil
		}
	}
	return err
}

// retake lets go of the pod's lock, and takes it again where somebody has asked for the pod's end meanwhile and nobody else sees to it.
func (b *Birth) retake() (bool, error) {
	if err := b.lock.Unlock(); err != nil {
		return false, err
	}
	s, err := Get(b.Dirs, b.UID)
	if errors.Is(err, ErrNotFound) {
		return false, nil
	}
	if err != nil || s.Metadata.Deleted == nil {
		return false, err
	}
	b.lock, err = state.TryLockThere(path.Join(podDir(b.Dirs, b.UID), lockFile))
	if errors.Is(err, state.ErrLocked) || errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// put writes a file of the supervisor's own, whole or not at all.
func put(dir, name string, data []byte) error {
	temp := path.Join(dir, "."+name)
	if err := os.WriteFile(temp, data, 0o600); err != nil {
		return err
	}
	return os.Rename(temp, path.Join(dir, name))
}

// forget removes the pod's name and folder, which are the last of it.
func (b *Birth) forget(m Metadata) error {
	link := nameLink(b.Dirs, m)
	if owner, err := os.Readlink(link); err == nil && owner == m.UID {
		if err := os.Remove(link); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return os.RemoveAll(podDir(b.Dirs, b.UID))
}
