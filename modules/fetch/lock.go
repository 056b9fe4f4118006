package fetch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

// errHeld is what tryLock returns for a lock that somebody else has.
var errHeld = errors.New("held")

// A lock is a file that the system locks for as long as its holder lives, so a
// killed program leaves none behind. Its text says who holds it.
type lock struct {
	file *os.File
	path string
}

// acquire takes the lock at path. If another program has it, it waits when
// told to, after calling held once, and returns a LockedError otherwise.
func acquire(ctx context.Context, path string, wait bool, held func(*LockedError)) (*lock, error) {
	for first := true; ; first = false {
		l, err := tryLock(path)
		if err == nil {
			return l, nil
		}
		if !errors.Is(err, errHeld) {
			return nil, onDisk(err)
		}
		busy := &LockedError{Path: path, Holder: holder(path)}
		if !wait {
			return nil, busy
		}
		if first {
			held(busy)
		}
		if err := sleep(ctx, 500*time.Millisecond); err != nil {
			return nil, fmt.Errorf("%w: %w", busy, err)
		}
	}
}

func tryLock(path string) (*lock, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	if err := lockFile(f); err != nil {
		_ = f.Close()
		return nil, err
	}
	// The holder before us removes the file when it is done: then what is
	// locked here is a file without a name, and somebody else may have the name.
	mine, err1 := f.Stat()
	named, err2 := os.Stat(path)
	if err1 != nil || err2 != nil || !os.SameFile(mine, named) {
		_ = f.Close()
		return nil, errHeld
	}
	host, _ := os.Hostname()
	text := fmt.Sprintf("process %d on %s since %s\n", os.Getpid(), host, time.Now().Format(time.RFC3339))
	if err := f.Truncate(0); err == nil {
		_, _ = f.WriteAt([]byte(text), 0) // only for people; a full disk must not stop a resume
	}
	return &lock{f, path}, nil
}

func holder(path string) string {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer func() { _ = f.Close() }()
	b, _ := io.ReadAll(io.LimitReader(f, 256))
	return strings.Map(func(r rune) rune {
		if r < ' ' {
			return -1
		}
		return r
	}, strings.TrimSpace(string(b)))
}

// release removes the file while it is still locked, then unlocks it.
func (l *lock) release() {
	removeLocked(l.file, l.path)
}
