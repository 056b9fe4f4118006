package fetchcmd

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// environment is what the command takes from outside, so that tests can give another.
type environment struct {
	get    func(string) string
	home   func() (string, error)
	memory func() int64 // bytes of this machine; 0 unknown
}

func system() environment {
	return environment{get: os.Getenv, home: os.UserHomeDir, memory: totalMemory}
}

// token returns the first there is: of the flag, of HF_TOKEN, of the file that
// the Hugging Face tools leave. None is no error: most files are public.
func (e environment) token(flag string) (string, error) {
	if flag != "" {
		return flag, nil
	}
	if t := strings.TrimSpace(e.get("HF_TOKEN")); t != "" {
		return t, nil
	}
	dir := e.get("HF_HOME")
	if dir == "" {
		home, err := e.home()
		if err != nil {
			return "", nil //nolint:nilerr // no home, no token file
		}
		dir = filepath.Join(home, ".cache", "huggingface")
	}
	f, err := os.Open(filepath.Join(dir, "token"))
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, os.ErrPermission) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }()
	b, err := io.ReadAll(io.LimitReader(f, 4096))
	return strings.TrimSpace(string(b)), err
}
