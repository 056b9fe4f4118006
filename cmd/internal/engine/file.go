package engine

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/ds4-go/ds4/modules/gguf"
	"github.com/ds4-go/ds4/modules/model"
	"github.com/ds4-go/ds4/modules/model/demo"
	"github.com/ds4-go/ds4/modules/model/tokenizer"
)

const whatNow = `fetch one with "ds4 fetch q2", or use the small demo model with --demo`

// OpenFile opens the model file of a configuration, the demo's included, and explains what is wrong with it.
func OpenFile(c Config, opts ...gguf.Option) (f *gguf.File, path string, err error) {
	path = c.Model
	if c.Demo {
		if path, err = DemoPath(); err != nil {
			return nil, "", err
		}
	}
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, path, fmt.Errorf("%s: no such model file; %s", path, whatNow)
	case err != nil:
		return nil, path, fileError("model", err)
	case info.IsDir():
		return nil, path, fmt.Errorf("%s: want a model file, got a directory%s", path, inside(path))
	case !info.Mode().IsRegular():
		return nil, path, fmt.Errorf("%s: want a model file, got a %s", path, info.Mode().Type())
	}
	// Only a file that says it is synthetic profits: in all others an overlap stays an error.
	f, err = gguf.Open(path, append(slices.Clip(opts), gguf.AllowSharedOffsets())...)
	if err != nil {
		return nil, path, about(path, err)
	}
	return f, path, nil
}

// inside names a model file in a directory that was given as one.
func inside(dir string) string {
	found, _ := filepath.Glob(filepath.Join(dir, "*.gguf"))
	if len(found) == 0 {
		return ""
	}
	return fmt.Sprintf("; it holds %s", found[0])
}

// about puts the file's name and a hint to an error about its content.
func about(path string, err error) error {
	var bad *gguf.Error
	switch {
	case errors.Is(err, gguf.ClassBadMagic):
		if errors.As(err, &bad) {
			return fmt.Errorf("%s: not a GGUF file: want %s, got %s", path, bad.Want, bad.Got)
		}
	case errors.Is(err, gguf.ErrCorrupt):
		return fmt.Errorf("%w; the file is cut short or damaged: fetch it again with \"ds4 fetch\"", err)
	case errors.Is(err, model.ErrNotDS4):
		return fmt.Errorf("%s: %w; ds4 runs DeepSeek V4 Flash only", path, err)
	case errors.Is(err, tokenizer.ErrVocab):
		return fmt.Errorf("%s: %w", path, err)
	}
	if errors.As(err, &bad) {
		return err // names the path
	}
	return fmt.Errorf("%s: %w", path, err)
}

func tensorsError(path string, bad []error) error {
	if len(bad) == 1 {
		return fmt.Errorf("%s: %w", path, bad[0])
	}
	return fmt.Errorf("%s: %w, and %d more tensors that do not fit; \"ds4 inspect --check %s\" lists them", path, bad[0], len(bad)-1, path)
}

// fileError is an error of the file system under the name of what it was for.
func fileError(what string, err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return fmt.Errorf("%s %s: %w", what, p.Path, p.Err)
	}
	return fmt.Errorf("%s: %w", what, err)
}

// ErrDemo is wrapped by errors about making the demo model.
var ErrDemo = errors.New("demo model")

// DemoPath is the demo model in the user's cache folder, made now if it is not there or not of this revision.
func DemoPath() (string, error) { return cached("demo.gguf", demo.Write) }

// DemoDraftPath is the demo model's draft head, likewise.
func DemoDraftPath() (string, error) { return cached("demo-mtp.gguf", demo.WriteDraft) }

// cached is a file of the demo model in the user's cache folder.
func cached(name string, write func(path string) error) (string, error) {
	dir, err := os.UserCacheDir()
	if err != nil {
		dir = os.TempDir()
	}
	path := filepath.Join(dir, "ds4", name)
	if f, err := gguf.Open(path); err == nil {
		current := demo.Current(f)
		if err := f.Close(); err == nil && current {
			return path, nil
		}
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return "", fmt.Errorf("%w: %w; set XDG_CACHE_HOME to a folder that can be written", ErrDemo, err)
	}
	if err := write(path); err != nil {
		return "", fmt.Errorf("%w: %w", ErrDemo, err)
	}
	return path, nil
}

// WriteDemo writes the demo model.
func WriteDemo(path string) error {
	if err := demo.Write(path); err != nil {
		return fmt.Errorf("%w: %w", ErrDemo, err)
	}
	return nil
}

// WriteDemoDraft writes the demo model's draft head.
func WriteDemoDraft(path string) error {
	if err := demo.WriteDraft(path); err != nil {
		return fmt.Errorf("%w: %w", ErrDemo, err)
	}
	return nil
}
