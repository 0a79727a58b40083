package state

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

// ErrLocked is returned by TryLock when another process holds the lock.
var ErrLocked = errors.New("locked by another process")

// A Lock is a flock(2) on a file. The kernel drops it when its holder dies, so a lock is never stale and the answer
// to "is anybody there?" is always true. Children do not inherit it: the descriptor is close-on-exec.
type Lock struct{ f *os.File }

// LockFile waits for the exclusive lock on name, which is made where missing.
func LockFile(name string) (*Lock, error) { return lock(name, os.O_CREATE, syscall.LOCK_EX) }

// RLockFile waits for a shared lock on name.
func RLockFile(name string) (*Lock, error) { return lock(name, os.O_CREATE, syscall.LOCK_SH) }

// TryLock takes the exclusive lock on name or answers ErrLocked at once.
func TryLock(name string) (*Lock, error) {
	return lock(name, os.O_CREATE, syscall.LOCK_EX|syscall.LOCK_NB)
}

// LockThere is LockFile for a lock that is not made where it is missing: that answers fs.ErrNotExist.
func LockThere(name string) (*Lock, error) { return lock(name, 0, syscall.LOCK_EX) }

// TryLockThere is TryLock for a lock in a folder that its holder may be removing: one that is gone answers fs.ErrNotExist,
// and is not made again.
func TryLockThere(name string) (*Lock, error) { return lock(name, 0, syscall.LOCK_EX|syscall.LOCK_NB) }

// TryRLockThere is TryLockThere for a shared lock: whoever only wants to know whether somebody holds the lock is in no other's way who
// wants to know the same.
func TryRLockThere(name string) (*Lock, error) { return lock(name, 0, syscall.LOCK_SH|syscall.LOCK_NB) }

// RLockThere waits for a shared lock like TryLockThere's: for the end of whoever holds it, or of the file.
func RLockThere(name string) (*Lock, error) { return lock(name, 0, syscall.LOCK_SH) }

func lock(name string, create, how int) (*Lock, error) {
	for {
		f, err := os.OpenFile(name, os.O_RDWR|create|syscall.O_CLOEXEC|syscall.O_NOFOLLOW, 0o600)
		if err != nil {
			return nil, err
		}
		for {
			if err = syscall.Flock(int(f.Fd()), how); !errors.Is(err, syscall.EINTR) {
				break
			}
		}
		if err != nil {
			f.Close()
			if errors.Is(err, syscall.EWOULDBLOCK) {
				return nil, fmt.Errorf("lock %s: %w", name, ErrLocked)
			}
			return nil, fmt.Errorf("lock %s: %w", name, err)
		}
		// The former holder may have removed the file between our open and our lock: then ours is the lock on a
		// name that nobody else can find, and the next comer would hold another.
		if onDisk, err := os.Stat(name); err == nil {
			if held, err := f.Stat(); err == nil && os.SameFile(onDisk, held) {
				return &Lock{f}, nil
			}
		}
		f.Close()
	}
}

// File is the open file that holds the lock. A process that inherits a copy of it holds the lock, too: it ends with the last copy.
func (l *Lock) File() *os.File { return l.f }

// Inherited is the lock on name that a process was born with, on its descriptor fd.
func Inherited(fd uintptr, name string) *Lock {
	syscall.CloseOnExec(int(fd))
	return &Lock{os.NewFile(fd, name)}
}

// Remove unlinks the file and releases the lock; whoever waits for it locks a fresh file.
func (l *Lock) Remove() error { return errors.Join(os.Remove(l.f.Name()), l.f.Close()) }

// Unlock releases the lock and leaves the file.
func (l *Lock) Unlock() error { return l.f.Close() }
