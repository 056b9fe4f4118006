package chatcmd

import (
	"bufio"
	"os"
	"path/filepath"
)

// replaceFile writes a file under another name and renames it, so that path is the old file or the whole new one.
// Something that is there and no plain file, such as /dev/stdout, is written to as it is.
func replaceFile(what, path string, write func(*bufio.Writer) error) error {
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		return inPlace(what, path, write)
	}
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return plain(what, err)
	}
	err = fill(f, write)
	if err == nil {
		err = os.Chmod(f.Name(), 0o644)
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name()) // the first error is the one to tell
		return plain(what, err)
	}
	return nil
}

func inPlace(what, path string, write func(*bufio.Writer) error) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err == nil {
		err = fill(f, write)
	}
	if err != nil {
		return plain(what, err)
	}
	return nil
}

// fill writes and closes f.
func fill(f *os.File, write func(*bufio.Writer) error) error {
	b := bufio.NewWriter(f)
	err := write(b)
	if err == nil {
		err = b.Flush()
	}
	if info, e := f.Stat(); err == nil && e == nil && info.Mode().IsRegular() {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	return err
}
