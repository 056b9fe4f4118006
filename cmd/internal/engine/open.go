package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/ds4-go/ds4/cmd/internal/gpulock"
	"github.com/ds4-go/ds4/modules/gguf"
	"github.com/ds4-go/ds4/modules/model"
	"github.com/ds4-go/ds4/modules/model/backend"
	"github.com/ds4-go/ds4/modules/model/chat"
	"github.com/ds4-go/ds4/modules/model/synth"
	"github.com/ds4-go/ds4/modules/model/tokenizer"
)

// Hooks are what a caller wants to hear of, or decide. All may be nil.
type Hooks struct {
	Progress func(done, total int64) // bytes of weights bound
	Warn     func(message string)    // what the user should know and need not stop for
	Reclaim  func() bool             // see model.Options

	// Wrap puts a probe around the backend, for those who want to see what passes.
	Wrap func(backend.Backend, model.Shape, model.Limits) (backend.Backend, error)
}

// Model is an open model, ready to run.
type Model struct {
	*model.Engine
	Tokenizer  *tokenizer.Tokenizer
	Shape      model.Shape
	Checkpoint *chat.Checkpoint
	Backend    string // the device's name
	Path       string
	Name       string // general.name, or the file's
	Demo       bool   // a demo model, from the program or a file

	file *gguf.File
	head *gguf.File // of the draft head; nil: none
	dev  backend.Backend
	lock *gpulock.Lock // nil: no GPU is used
}

// Close frees the device and closes the file.
func (m *Model) Close() error {
	return errors.Join(m.closeDevice(), m.closeHead(), m.file.Close())
}

// closeDevice gives the device back, and then leaves the GPU to others.
func (m *Model) closeDevice() error {
	err := m.dev.Close()
	if m.lock != nil {
		err = errors.Join(err, m.lock.Close())
	}
	return err
}

// File is the open model file.
func (m *Model) File() *gguf.File { return m.file }

// Open opens the model of a configuration and makes the engine.
func Open(ctx context.Context, c Config, h Hooks) (*Model, error) {
	list, err := candidates(c)
	if err != nil {
		return nil, err
	}
	f, path, err := OpenFile(c)
	if err != nil {
		return nil, err
	}
	m := &Model{file: f, Path: path, Checkpoint: checkpoint(f)}
	if err := m.open(ctx, c, h, list); err != nil {
		_ = errors.Join(m.closeHead(), f.Close()) // the first error is the one to tell
		return nil, err
	}
	return m, nil
}

func (m *Model) open(ctx context.Context, c Config, h Hooks, list []device) (err error) {
	if m.Shape, err = model.ReadShape(m.file); err != nil {
		return about(m.Path, err)
	}
	if m.Tokenizer, err = tokenizer.FromGGUF(m.file, tokenizer.Options{}); err != nil {
		return about(m.Path, err)
	}
	if n := m.Tokenizer.Len(); n != m.Shape.Vocab {
		return fmt.Errorf("%s: vocabulary: want %d tokens as the weights have, got %d", m.Path, m.Shape.Vocab, n)
	}
	m.Demo, _ = synth.IsDemo(m.file)
	if m.Name, _ = m.file.String("general.name"); m.Name == "" {
		m.Name = strings.TrimSuffix(filepath.Base(m.Path), ".gguf")
	}
	steer, err := readSteering(c, m.Shape)
	if err != nil {
		return err
	}
	if bad := model.CheckFile(m.file, m.Shape); len(bad) > 0 { // before a device is woken for nothing
		return tensorsError(m.Path, bad)
	}
	if err := m.openHead(c); err != nil {
		return err
	}
	lim, err := m.device(c, h, list)
	if err != nil {
		return err
	}
	if h.Wrap != nil {
		b, err := h.Wrap(m.dev, m.Shape, lim)
		if err != nil {
			_ = m.closeDevice()
			return err
		}
		m.dev = b
	}
	if err := m.load(ctx, c, h, lim, steer); err != nil {
		_ = m.closeDevice()
		return about(m.Path, err)
	}
	return nil
}

// device opens the first device of the list that the machine has, that has room for the model and that starts. Where the
// user named one, it is that or an error.
func (m *Model) device(c Config, h Hooks, list []device) (model.Limits, error) {
	var first error
	weights := weightBytes(m.file)
	if m.head != nil {
		weights += weightBytes(m.head)
	}
	for i, d := range list {
		lim := c.Limits(d.rows)
		b, lock, err := d.openAlone(m.Shape, lim, c, weights)
		if errors.Is(err, gpulock.ErrHeld) {
			return lim, err // the user asked for no other device, or would wonder why it is slow
		}
		if err == nil {
			m.lock = lock
			m.dev, m.Backend = b, d.name
			return lim, nil
		}
		if first == nil {
			first = err
		}
		if last := i == len(list)-1; last && !errors.Is(err, backend.ErrUnsupported) {
			return lim, err
		} else if !last && !errors.Is(err, backend.ErrUnsupported) && h.Warn != nil {
			h.Warn(fmt.Sprintf("%v; trying %s", err, deviceNames[list[i+1].name]))
		}
	}
	return model.Limits{}, first
}

func (m *Model) load(ctx context.Context, c Config, h Hooks, lim model.Limits, steer []byte) error {
	if c.WarmWeights {
		if err := warm(ctx, m.file, h.Progress); err != nil {
			return err
		}
	}
	if err := m.keep(c, h); err != nil {
		return err
	}
	w, err := model.Load(m.file, m.Shape, m.dev, h.Progress)
	if err != nil {
		return err
	}
	opt := model.Options{Reclaim: h.Reclaim, Align: c.align()}
	if m.head != nil {
		if err := w.LoadDraft(m.head, m.file, m.Shape, m.dev); err != nil {
			return err
		}
	}
	if steer != nil {
		if err := w.Steer(m.dev, m.Shape, steer); err != nil {
			return err
		}
		opt.SteerAttn, opt.SteerFFN = float32(c.SteerAttn), float32(c.SteerFFN)
	}
	m.Engine, err = model.New(m.dev, w, m.Shape, lim, opt)
	if errors.Is(err, backend.ErrMemory) {
		return fmt.Errorf("%w; a smaller --ctx takes less", err)
	}
	return err
}

// checkpoint tells the revision by the file's name for itself: nothing in the metadata says it.
func checkpoint(f *gguf.File) *chat.Checkpoint {
	for _, key := range []string{"general.name", "general.version", "general.basename"} {
		if s, err := f.String(key); err == nil && strings.Contains(s, "0731") {
			return chat.Rev0731
		}
	}
	return chat.Preview
}

func readSteering(c Config, s model.Shape) ([]byte, error) {
	if c.SteerFile == "" {
		return nil, nil
	}
	want := int64(4 * s.Layers * s.Embd)
	info, err := os.Stat(c.SteerFile)
	if err != nil {
		return nil, fileError("--dir-steering-file", err)
	}
	if info.Size() != want || info.IsDir() {
		return nil, fmt.Errorf("--dir-steering-file %s: want %d bytes (%d layers of %d f32), got %d", c.SteerFile, want, s.Layers, s.Embd, info.Size())
	}
	data, err := os.ReadFile(c.SteerFile)
	if err != nil {
		return nil, fileError("--dir-steering-file", err)
	}
	return data, nil
}

// warm reads every byte of the tensors once, so that they are in memory before the first token.
func warm(ctx context.Context, f *gguf.File, progress func(done, total int64)) error {
	const step = 64 << 20
	sum, total := byte(0), f.Size()-f.DataOffset()
	for t := range f.TensorsByOffset() {
		data, err := t.Data()
		if err != nil {
			return err
		}
		for at := 0; at < len(data); at += step {
			if err := ctx.Err(); err != nil {
				return err
			}
			part := data[at:min(len(data), at+step)]
			for i := 0; i < len(part); i += 4096 {
				sum += part[i]
			}
			if progress != nil {
				progress(int64(t.Offset)+int64(at+len(part)), total)
			}
		}
	}
	runtime.KeepAlive(sum)
	return nil
}
