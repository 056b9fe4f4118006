package gguf_test

import (
	"compress/gzip"
	"io"
	"os"
	"path/filepath"
	"testing"
)

// sharedData returns the folder of golden data: $DS4_SHARED, or shared/data
// beside the repository, which is where go.work is.
func sharedData(t testing.TB, sub string) string {
	t.Helper()
	root := os.Getenv("DS4_SHARED")
	if root == "" {
		dir, err := os.Getwd()
		if err != nil {
			t.Fatal(err)
		}
		for {
			if _, err := os.Stat(filepath.Join(dir, "go.work")); err == nil {
				break
			}
			parent := filepath.Dir(dir)
			if parent == dir {
				t.Skip("golden data: no go.work above, set DS4_SHARED")
			}
			dir = parent
		}
		root = filepath.Join(dir, "..", "shared")
	}
	dir := filepath.Join(root, "data", sub)
	if _, err := os.Stat(dir); err != nil {
		t.Skipf("golden data is not here: %v", err)
	}
	return dir
}

func readFile(t testing.TB, path string) []byte {
	t.Helper()
	fd, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = fd.Close() }()
	var r io.Reader = fd
	if filepath.Ext(path) == ".gz" {
		if r, err = gzip.NewReader(fd); err != nil {
			t.Fatal(err)
		}
	}
	data, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return data
}
