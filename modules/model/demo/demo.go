package demo

import (
	_ "embed"
	"os"
	"path/filepath"

	"github.com/ds4-go/ds4/modules/gguf"
	"github.com/ds4-go/ds4/modules/model/synth"
)

// Revision is the value of synth.KeyDemo in the files of this build: a kept file of another one is stale.
const Revision = 3

//go:embed demo.gguf
var file []byte

//go:embed mtp.gguf
var draft []byte

// Bytes is the model file. It must not be changed.
func Bytes() []byte { return file }

// File opens the model in memory.
func File() (*gguf.File, error) { return gguf.ParseBytes(file) }

// DraftFile opens the model's draft head in memory.
func DraftFile() (*gguf.File, error) { return gguf.ParseBytes(draft) }

// Write puts the model into a file, whole or not at all.
func Write(path string) error { return write(path, file) }

// WriteDraft does the same with the draft head.
func WriteDraft(path string) error { return write(path, draft) }

func write(path string, data []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".demo-*")
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if e := f.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = os.Chmod(f.Name(), 0o644)
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name())
	}
	return err
}

// Current says whether f is the model of this build, or its draft head.
func Current(f *gguf.File) bool {
	rev, err := f.Uint32(synth.KeyDemo)
	return err == nil && rev == Revision
}
