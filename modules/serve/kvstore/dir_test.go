package kvstore

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

// TestLeftover: half a file that a killed process left is gone once the store is open.
func TestLeftover(t *testing.T) {
	path := t.TempDir()
	temp := filepath.Join(path, tempName)
	if err := os.WriteFile(temp, []byte("what somebody said"), 0o600); err != nil {
		t.Fatal(err)
	}
	d, err := OpenDir(path)
	if err != nil {
		t.Fatal(err)
	}
	s, err := Open(Options{Blobs: d, Shape: small(), CtxTokens: 100000})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(temp); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("want no leftover, got %v", err)
	}
	if err := s.Close(t.Context()); err != nil {
		t.Error(err)
	}
}
