package fetch

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestBadPlaces: a folder where the file should be, a file where a folder should be.
func TestBadPlaces(t *testing.T) {
	h, dir := newHub(t, content{seed: 6, size: 1 << 20}), t.TempDir()
	dest := filepath.Join(dir, "model.gguf")
	check := func(dest, want string) {
		t.Helper()
		_, err := h.client().Get(t.Context(), h.request(dest, nil))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
	mkdir := func(name string) {
		t.Helper()
		if err := os.MkdirAll(name, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	mkdir(filepath.Join(dest, "sub"))
	check(dest, "want a file, got a folder")
	if err := os.RemoveAll(dest); err != nil {
		t.Fatal(err)
	}
	mkdir(dest + ".part")
	check(dest, "want a file, got d")
	if err := os.Remove(dest + ".part"); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "plain"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	check(filepath.Join(dir, "plain", "model.gguf"), "plain")
	if n := len(h.requests()); n != 1 { // the part's kind is seen last
		t.Errorf("want the hub asked once, got %d requests", n)
	}
	if _, err := h.client().Get(t.Context(), h.request(filepath.Join(dir, "new", "folder", "model.gguf"), nil)); err != nil {
		t.Error(err)
	}
	if _, err := h.client().Get(t.Context(), h.request(dest, nil)); err != nil {
		t.Error(err)
	}
	wantFile(t, dest, h.file)
}

// TestNoSpace: seen before the first byte is fetched.
func TestNoSpace(t *testing.T) {
	if _, ok := freeSpace(t.TempDir()); !ok {
		t.Skip("this system does not tell its free space")
	}
	h, dest := newHub(t, content{seed: 6, size: 1 << 20}), tempDest(t)
	h.resize(1 << 60)
	var se *SpaceError
	if _, err := h.client().Get(t.Context(), h.request(dest, nil)); !errors.As(err, &se) || se.Free <= 0 || se.Need <= se.Free {
		t.Errorf("want a SpaceError, got %v", err)
	}
	wantNothing(t, dest)
	for _, r := range h.requests() {
		if r.host == "store" {
			t.Fatal("the store was asked although the disk is too small")
		}
	}
	h.resize(1 << 20) // the same with room enough
	if _, err := h.client().Get(t.Context(), h.request(dest, nil)); err != nil {
		t.Fatal(err)
	}
	wantFile(t, dest, h.file)
}

// TestSparse: zeros take no space, and what is not zero is where it should be.
func TestSparse(t *testing.T) {
	h, dest := newHub(t, content{seed: 8, size: 40 << 20, sparse: true}), tempDest(t)
	r := h.request(dest, nil)
	r.Sparse = true
	if _, err := h.client().Get(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	wantFile(t, dest, h.file)
	fi, err := os.Stat(dest)
	if err != nil {
		t.Fatal(err)
	}
	// what an earlier run has written and not recorded is no hole
	r.Dest = tempDest(t)
	interrupt(t, h, r.Dest, 3)
	part, err := os.OpenFile(r.Dest+".part", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = part.WriteAt([]byte("garbage"), 30<<20)
	if err := errors.Join(err, part.Close()); err != nil {
		t.Fatal(err)
	}
	if _, err := h.client().Get(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	wantFile(t, r.Dest, h.file)

	probe, err := os.Create(filepath.Join(t.TempDir(), "probe"))
	if err != nil {
		t.Fatal(err)
	}
	defer probe.Close()
	if !punch(probe, 0, 1) {
		t.Skip("no holes on this file system")
	}
	if got := allocated(fi); got > 8<<20 {
		t.Errorf("want about 2 MiB on the disk, got %d bytes", got)
	}
}
