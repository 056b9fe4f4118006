package kvstore

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
)

// Dir is a folder of blobs. It leaves files alone whose names it would not have given.
type Dir struct {
	path    string
	mu      sync.Mutex // between goroutines; the lock file is between processes
	cleaned bool
}

const (
	lockName = "lock"
	tempName = ".tmp" // one, since one Put runs at a time: what a killed process leaves goes with the next lock
)

// OpenDir makes the folder, 0700, where it is missing.
func OpenDir(path string) (*Dir, error) {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, fmt.Errorf("kvstore: %w", err)
	}
	return &Dir{path: path}, nil
}

func checkName(name string) error {
	ok := len(name) > 0 && len(name) <= 128 && name[0] != '.' && name != lockName
	for i := 0; ok && i < len(name); i++ {
		c := name[i]
		ok = c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '.' || c == '-'
	}
	if !ok {
		return fmt.Errorf("kvstore: blob name: want lower-case letters, digits, dots and dashes, got %q", name)
	}
	return nil
}

type fileBlob struct {
	*os.File
	size int64
}

func (b *fileBlob) Size() int64 { return b.size }

// Get opens a file.
func (d *Dir) Get(name string) (Blob, error) {
	if err := checkName(name); err != nil {
		return nil, err
	}
	f, err := os.Open(filepath.Join(d.path, name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("kvstore: %s: %w", name, ErrNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("kvstore: %w", err)
	}
	st, err := f.Stat()
	if err == nil && !st.Mode().IsRegular() {
		err = fmt.Errorf("%s: want a regular file", name)
	}
	if err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("kvstore: %w", err)
	}
	return &fileBlob{f, st.Size()}, nil
}

// Put writes the temporary file, syncs it, renames it and syncs the folder.
func (d *Dir) Put(name string, bytes int64, write func(io.WriterAt) error) error {
	if err := checkName(name); err != nil {
		return err
	}
	temp := filepath.Join(d.path, tempName)
	f, err := os.OpenFile(temp, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("kvstore: %w", err)
	}
	err = f.Truncate(bytes)
	if err == nil {
		err = write(f)
	}
	if err == nil {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = os.Rename(temp, filepath.Join(d.path, name))
	}
	if err != nil {
		_ = os.Remove(temp)
		return fmt.Errorf("kvstore: %s: %w", name, err)
	}
	return syncDir(d.path)
}

// List reads the folder.
func (d *Dir) List(visit func(name string, bytes int64)) error {
	entries, err := os.ReadDir(d.path)
	if err != nil {
		return fmt.Errorf("kvstore: %w", err)
	}
	for _, e := range entries {
		if checkName(e.Name()) != nil || !e.Type().IsRegular() {
			continue
		}
		if info, err := e.Info(); err == nil {
			visit(e.Name(), info.Size())
		}
	}
	return nil
}

// Delete removes a file.
func (d *Dir) Delete(name string) error {
	if err := checkName(name); err != nil {
		return err
	}
	if err := os.Remove(filepath.Join(d.path, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("kvstore: %w", err)
	}
	return nil
}

// Lock locks the folder's lock file, which stays. The first time it removes what a process left that was killed while it wrote:
// no budget counts that, and it holds what the file was to hold.
func (d *Dir) Lock() (func(), error) {
	d.mu.Lock()
	f, err := os.OpenFile(filepath.Join(d.path, lockName), os.O_RDWR|os.O_CREATE, 0o600)
	if err == nil {
		if err = lockFile(f); err != nil {
			_ = f.Close()
		}
	}
	if err != nil {
		d.mu.Unlock()
		return nil, fmt.Errorf("kvstore: lock: %w", err)
	}
	if !d.cleaned {
		_ = os.Remove(filepath.Join(d.path, tempName)) // mostly there is none; one that stays is overwritten
		d.cleaned = true
	}
	return func() {
		_ = f.Close() // the lock goes with it
		d.mu.Unlock()
	}, nil
}
