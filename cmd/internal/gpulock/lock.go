package gpulock

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
)

// ErrHeld is wrapped by Take where another process has the lock.
var ErrHeld = errors.New("the GPU is in use")

// Lock is this process's hold of a file.
type Lock struct {
	path string
	f    *os.File
	n    int // times it was taken
}

// locks are those of this process: it may use the GPU for more than one model.
var locks = struct {
	sync.Mutex
	byPath map[string]*Lock
}{byPath: map[string]*Lock{}}

// Path is the file that programs agree on: DS4_LOCK_FILE, or one in the system's temporary folder.
func Path() string {
	if path := os.Getenv("DS4_LOCK_FILE"); path != "" {
		return path
	}
	return filepath.Join(os.TempDir(), "ds4.lock")
}

// Take locks the file at path, which is made where it is not there. A process that has it takes it again. Errors: ErrHeld,
// those of the file.
func Take(path string) (*Lock, error) {
	locks.Lock()
	defer locks.Unlock()
	if l := locks.byPath[path]; l != nil {
		l.n++
		return l, nil
	}
	f, err := open(path)
	if err != nil {
		return nil, fmt.Errorf("lock file: %w; DS4_LOCK_FILE names another", err)
	}
	if err := tryLock(f); err != nil {
		holder := pid(f)
		_ = f.Close() // nothing was written
		if !errors.Is(err, errBusy) {
			return nil, fmt.Errorf("lock file %s: %w; DS4_LOCK_FILE names another", path, err)
		}
		return nil, fmt.Errorf("%w by %s, which has locked %s: stop it, use --cpu, or set DS4_LOCK_FILE to share the GPU", ErrHeld, holder, path)
	}
	if err := write(f, strconv.Itoa(os.Getpid())+"\n"); err != nil {
		_ = f.Close() // the first error is the one to tell
		return nil, fmt.Errorf("lock file: %w", err)
	}
	l := &Lock{path, f, 1}
	locks.byPath[path] = l
	return l, nil
}

// Close gives the lock back, when it has been closed as often as it was taken. The file stays: another process may wait at it.
func (l *Lock) Close() error {
	locks.Lock()
	defer locks.Unlock()
	if l.n--; l.n > 0 {
		return nil
	}
	delete(locks.byPath, l.path)
	return errors.Join(write(l.f, ""), l.f.Close())
}

// open opens the file for every user of the machine. Only a regular file is taken: in a folder that all can write to, a link may
// lead to a file that is worth something.
func open(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o666)
	if err == nil {
		_ = f.Chmod(0o666) // whatever the umask is; where it can't be, other users have to name another file
		return f, nil
	}
	if !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	seen, err := os.Lstat(path)
	if err != nil {
		return nil, err
	}
	if !seen.Mode().IsRegular() {
		return nil, fmt.Errorf("%s: want a regular file", path)
	}
	if f, err = os.OpenFile(path, os.O_RDWR, 0); err != nil {
		return nil, err
	}
	if got, err := f.Stat(); err != nil || !os.SameFile(seen, got) {
		_ = f.Close() // nothing was written
		return nil, fmt.Errorf("%s: want the file that was there, got another", path)
	}
	return f, nil
}

func write(f *os.File, text string) error {
	if err := f.Truncate(0); err != nil {
		return err
	}
	_, err := f.WriteAt([]byte(text), 0)
	return err
}

// pid is what the file says of its holder.
func pid(f *os.File) string {
	b, err := io.ReadAll(io.LimitReader(f, 32))
	if n, perr := strconv.Atoi(strings.TrimSpace(string(b))); err == nil && perr == nil && n > 0 {
		return fmt.Sprintf("process %d", n)
	}
	return "another process"
}
