package fetch

import (
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
)

// ram mounts a small file system in memory, which may be filled up and made read-only.
func ram(t *testing.T, bytes int) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%d", bytes)); err != nil {
		t.Skip("a test file system can't be mounted here: ", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// TestDiskFull: somebody else takes the space while the file is fetched.
func TestDiskFull(t *testing.T) {
	dir := ram(t, 128<<20)
	h := newHub(t, content{seed: 11, size: 48 << 20})
	dest, hog := filepath.Join(dir, "model.gguf"), filepath.Join(dir, "hog")
	h.onStore(func(_ http.ResponseWriter, _ *http.Request, n int) bool {
		if n == 20 {
			h.mu.Lock()
			defer h.mu.Unlock()
			f, err := os.Create(hog)
			if err != nil {
				return false
			}
			for err == nil {
				_, err = f.Write(make([]byte, 1<<20))
			}
			_ = f.Close()
		}
		return false
	})
	r := h.request(dest, nil)
	r.Sparse = true // reserves nothing, as on a file system that can't
	_, err := h.client().Get(t.Context(), r)
	if !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), "no space left") {
		t.Fatalf("want no space left, got %v", err)
	}
	wantNothing(t, dest)
	if _, err = h.client().Get(t.Context(), r); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("still full: want no space left, got %v", err)
	}
	if err := os.Remove(hog); err != nil {
		t.Fatal(err)
	}
	res, err := h.client().Get(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	if res.Found < 10<<20 {
		t.Errorf("want what was fetched before to be found, got %d bytes", res.Found)
	}
	wantFile(t, dest, h.file)
}

// TestReserved: with the space reserved, a hog comes too late.
func TestReserved(t *testing.T) {
	dir := ram(t, 128<<20)
	h := newHub(t, content{seed: 11, size: 32 << 20})
	h.onStore(func(_ http.ResponseWriter, _ *http.Request, n int) bool {
		if n == 2 {
			_ = os.WriteFile(filepath.Join(dir, "hog"), make([]byte, 120<<20), 0o644)
		}
		return false
	})
	r := h.request(filepath.Join(dir, "model.gguf"), nil)
	_, err := h.client().Get(t.Context(), r)
	if err != nil && !strings.Contains(err.Error(), "journal") { // the journal's own 32 bytes may not fit
		t.Fatal(err)
	}
	_ = os.Remove(filepath.Join(dir, "hog"))
	if err != nil {
		if _, err := h.client().Get(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	wantFile(t, r.Dest, h.file)
}

func TestReadOnly(t *testing.T) {
	dir := ram(t, 128<<20)
	h := newHub(t, small)
	dest := filepath.Join(dir, "model.gguf")
	interrupt(t, h, dest, 4)
	remount := func(flags uintptr) {
		t.Helper()
		if err := syscall.Mount("", dir, "", syscall.MS_REMOUNT|flags, ""); err != nil {
			t.Skip("can't be mounted again here: ", err)
		}
	}
	remount(syscall.MS_RDONLY)
	_, err := h.client().Get(t.Context(), h.request(dest, nil))
	if !errors.Is(err, syscall.EROFS) || !strings.Contains(err.Error(), dir) {
		t.Errorf("want a read-only file system, got %v", err)
	}
	remount(0)
	res, err := h.client().Get(t.Context(), h.request(dest, nil))
	if err != nil || res.Found == 0 {
		t.Fatalf("%+v, %v", res, err)
	}
	wantFile(t, dest, small)
}

// TestNoPermission: folders and files that others own. Root asks as somebody else.
func TestNoPermission(t *testing.T) {
	h, dir := newHub(t, small), t.TempDir()
	for d := dir; d != os.TempDir() && len(d) > 1; d = filepath.Dir(d) {
		_ = os.Chmod(d, 0o755)
	}
	sub := filepath.Join(dir, "sub")
	if err := os.Mkdir(sub, 0o755); err != nil {
		t.Fatal(err)
	}
	dest := filepath.Join(sub, "model.gguf")
	get := func() (Result, error) { return h.client().Get(t.Context(), h.request(dest, nil)) }
	denied := func() {
		t.Helper()
		var err error
		unprivileged(t, func() { _, err = get() })
		if !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), sub) {
			t.Errorf("want permission denied with the path, got %v", err)
		}
	}
	if err := os.Chmod(sub, 0o555); err != nil {
		t.Fatal(err)
	}
	denied()
	if err := os.Chmod(sub, 0o777); err != nil {
		t.Fatal(err)
	}
	interrupt(t, h, dest, 4)
	for _, name := range []string{dest + ".part", dest + ".part.journal"} {
		if err := os.Chmod(name, 0); err != nil {
			t.Fatal(err)
		}
		denied()
		if err := os.Chmod(name, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	res, err := get()
	if err != nil || res.Found == 0 {
		t.Fatalf("%+v, %v", res, err)
	}
	wantFile(t, dest, small)
}

// unprivileged calls f with root's rights over files put aside. They belong to
// the thread, and all files of a call are opened by its own goroutine.
func unprivileged(t *testing.T, f func()) {
	t.Helper()
	if os.Geteuid() != 0 {
		f()
		return
	}
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		const nobody = 65534
		_, _, errno := syscall.RawSyscall(syscall.SYS_SETFSUID, nobody, 0, 0)
		if errno != 0 {
			done <- errno
			return
		}
		f()
		done <- nil
	}()
	if err := <-done; err != nil {
		t.Skip("can't drop rights here: ", err)
	}
}
