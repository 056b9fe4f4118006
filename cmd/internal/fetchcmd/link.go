package fetchcmd

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// modelLink is the name under which every command looks for its model.
const modelLink = "ds4flash.gguf"

// point makes link a symbolic link to the file at dest, in the place of an
// earlier link but never of a file.
func point(link, dest string) error {
	fi, err := os.Lstat(link)
	switch {
	case err == nil && fi.Mode()&fs.ModeSymlink == 0:
		return fmt.Errorf("%s: want a link or nothing, got %s: left as it is; give the model with -m %s", link, kind(fi), dest)
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return err
	}
	to, err := linkTarget(link, dest)
	if err != nil {
		return err
	}
	tmp := link + ".new"
	_ = os.Remove(tmp)
	if err := os.Symlink(to, tmp); err != nil {
		return fmt.Errorf("%w: no link made; give the model with -m %s", err, dest)
	}
	if err := os.Rename(tmp, link); err != nil {
		_ = os.Remove(tmp)
		return err
	}
	return nil
}

// linkTarget is relative where both are in one tree, so that the tree can be moved.
func linkTarget(link, dest string) (string, error) {
	dest, err := filepath.Abs(dest)
	if err != nil {
		return "", err
	}
	dir, err := filepath.Abs(filepath.Dir(link))
	if err != nil {
		return "", err
	}
	if rel, err := filepath.Rel(dir, dest); err == nil && filepath.IsLocal(rel) {
		return rel, nil
	}
	return dest, nil
}

func kind(fi fs.FileInfo) string {
	if fi.IsDir() {
		return "a folder"
	}
	return "a file"
}
