package kvstore

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/ds4-go/ds4/modules/gguf"
	"github.com/ds4-go/ds4/modules/model"
	"github.com/ds4-go/ds4/modules/model/backend/cpu"
	"github.com/ds4-go/ds4/modules/model/synth"
)

// lengths of the checkpoints of TestEngine: every residue of 4, and around the window of 128 of both kinds of compressor.
var engineLengths = []int{1, 2, 3, 4, 5, 6, 7, 36, 125, 126, 127, 128, 129, 130, 131}

const engineMore = 5 // tokens evaluated after each: they complete a window of ratio 4

// tiny runs the tiny model.
func tiny() (*model.Engine, *gguf.File, error) {
	f, err := synth.T1().File()
	if err != nil {
		return nil, nil, err
	}
	sh, err := model.ReadShape(f)
	if err != nil {
		return nil, nil, err
	}
	lim := model.Limits{CtxTokens: 200, Seqs: 2, Slots: 2 + model.SpareSlots, Rows: 64, Outs: 1, Tops: 1}
	b, err := cpu.New(sh, lim, cpu.Options{Poison: true})
	if err != nil {
		return nil, nil, err
	}
	w, err := model.Load(f, sh, b, nil)
	if err != nil {
		return nil, nil, err
	}
	e, err := model.New(b, w, sh, lim, model.Options{})
	return e, f, err
}

// tinyStore opens a store for the tiny model.
func tinyStore(dir string, e *model.Engine, f *gguf.File, format Format, log func(Event)) (*Store, error) {
	d, err := OpenDir(dir)
	if err != nil {
		return nil, err
	}
	id, err := Identify(f, "none")
	if err != nil {
		return nil, err
	}
	return Open(Options{Blobs: d, Identity: id, Shape: e.Shape(), CtxTokens: e.Limits().CtxTokens, Format: format, Queue: 32, Log: log})
}

// sum evaluates tokens and hashes the last one's logits.
func sum(q *model.Seq, tokens []int32) (string, error) {
	j, err := q.Feed(context.Background(), tokens, 0, []model.Want{{}}, nil)
	if err != nil {
		return "", err
	}
	h := sha256.New()
	err = binary.Write(h, binary.LittleEndian, j.Logits(nil, 0))
	return fmt.Sprintf("%x", h.Sum(nil)), err
}

// engineText is the text that stands for n tokens.
func engineText(n int) []byte { return []byte(strings.Repeat("x", n)) }

// restoring is the child of TestEngine: another process, whose engine goes on from what the first one saved.
func restoring(dir string, format Format) error {
	e, f, err := tiny()
	if err != nil {
		return err
	}
	s, err := tinyStore(dir, e, f, format, nil)
	if err != nil {
		return err
	}
	prompt := synth.Prompt(e.Shape().Vocab, 200)
	for _, n := range engineLengths {
		query := Query{Tokens: prompt[:n+1]}
		if format == V1 {
			query = Query{Text: engineText(n + 1)}
		}
		h, err := s.Lookup(query)
		if err != nil {
			return err
		}
		if len(h.Tokens) != n {
			return fmt.Errorf("want %d tokens, got %d", n, len(h.Tokens))
		}
		snap, err := e.Import(h.Tokens, h.Page, h.State)
		if err != nil {
			return err
		}
		h.Close(Used)
		q, err := e.Restore(snap)
		if err != nil {
			return err
		}
		got, err := sum(q, prompt[n:n+engineMore])
		if err != nil {
			return err
		}
		fmt.Println("logits", n, got)
		q.Free()
		snap.Free()
	}
	return s.Close(context.Background())
}

// What one process saves another restores, and the logits that follow are the same, bit for bit: as blocks and as KVC.
func TestEngine(t *testing.T) {
	e, f, err := tiny()
	if err != nil {
		t.Fatal(err)
	}
	prompt := synth.Prompt(e.Shape().Vocab, 200)
	dirs := map[Format]string{Blocks: t.TempDir(), V1: t.TempDir()}
	stores := map[Format]*Store{}
	for format, dir := range dirs {
		stores[format], err = tinyStore(dir, e, f, format, func(e Event) {
			if e.Op != Stored {
				t.Errorf("%+v", e)
			}
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	// This goroutine owns the engine; the writers reach it through calls.
	calls := make(chan func())
	do := func(f func()) error {
		done := make(chan struct{})
		calls <- func() { f(); close(done) }
		<-done
		return nil
	}
	q, err := e.NewSeq()
	if err != nil {
		t.Fatal(err)
	}
	want := map[int]string{}
	for _, n := range engineLengths {
		if _, err := sum(q, prompt[q.Len():n]); err != nil {
			t.Fatal(err)
		}
		for _, s := range stores {
			snap, err := q.Snapshot()
			if err == nil {
				err = s.Save(FromSnapshot(snap, do), Mark{Reason: Continued, Text: engineText(n)})
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		branch, err := q.Branch()
		if err != nil {
			t.Fatal(err)
		}
		if want[n], err = sum(branch, prompt[n:n+engineMore]); err != nil {
			t.Fatal(err)
		}
		branch.Free()
	}
	closed := make(chan error)
	go func() {
		closed <- errors.Join(stores[Blocks].Close(context.Background()), stores[V1].Close(context.Background()))
	}()
	for open := true; open; {
		select {
		case f := <-calls:
			f()
		case err := <-closed:
			if open = false; err != nil {
				t.Fatal(err)
			}
		}
	}
	for format, dir := range dirs {
		cmd := exec.Command(os.Args[0], "-test.run=^$")
		cmd.Env = append(os.Environ(), fmt.Sprintf("%s=engine|%s|%d", childRole, dir, format))
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("child: %v: %s", err, out)
		}
		for _, n := range engineLengths {
			if line := fmt.Sprintf("logits %d %s\n", n, want[n]); !strings.Contains(string(out), line) {
				t.Errorf("format %d, %d tokens: logits differ", format, n)
			}
		}
	}
}
