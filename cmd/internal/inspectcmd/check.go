package inspectcmd

import (
	"fmt"
	"io"
	"reflect"
	"strings"

	"github.com/ds4-go/ds4/cmd/internal/engine"
	"github.com/ds4-go/ds4/modules/gguf"
	"github.com/ds4-go/ds4/modules/model"
	"github.com/ds4-go/ds4/modules/model/backend"
	"github.com/ds4-go/ds4/modules/model/backend/null"
	"github.com/ds4-go/ds4/modules/model/demo"
	"github.com/ds4-go/ds4/modules/model/synth"
	"github.com/ds4-go/ds4/modules/model/tokenizer"
)

// findings are what a check found: problems that keep ds4 from running the file as DeepSeek V4 Flash, and notes.
type findings struct {
	OK       bool     `json:"ok"`
	Problems []string `json:"problems"`
	Notes    []string `json:"notes"`
	Checked  []string `json:"checked"`
}

func (f *findings) problem(err error) {
	f.Problems = append(f.Problems, strings.TrimPrefix(err.Error(), "model: "))
}

func (f *findings) note(format string, a ...any) {
	f.Notes = append(f.Notes, fmt.Sprintf(format, a...))
}

// examine checks a file from the outside in. An error says that it could not even begin.
func examine(c engine.Config) (*findings, error) {
	out := &findings{Problems: []string{}, Notes: []string{}}
	f, _, err := engine.OpenFile(c)
	whole := err == nil
	if !whole { // the header could be read, so the rest of the file breaks a rule; it may still tell more
		out.problem(err)
		if f, _, err = engine.OpenFile(c, gguf.HeaderOnly()); err != nil {
			return out, nil //nolint:nilerr // told already
		}
	}
	defer func() { _ = f.Close() }()
	if whole {
		out.layout(f)
	}
	s, err := model.ReadShape(f)
	if err != nil {
		out.problem(err)
		return out, nil
	}
	out.shape(f, s)
	if t, err := tokenizer.FromGGUF(f, tokenizer.Options{}); err != nil {
		out.problem(err)
	} else if t.Len() != s.Vocab {
		out.problem(fmt.Errorf("vocabulary: want %d tokens, got %d", s.Vocab, t.Len()))
	}
	out.Checked = append(out.Checked, "tokenizer")
	out.tensors(f, s, whole)
	out.OK = len(out.Problems) == 0
	return out, nil
}

// layout lists what is legal and yet suspicious; opening the file has refused the rest.
func (f *findings) layout(file *gguf.File) {
	f.Checked = append(f.Checked, "layout")
	warnings, err := file.Warnings()
	if err != nil {
		f.problem(err)
	}
	for _, w := range warnings {
		f.note("%v", w)
	}
}

// shape compares the metadata with the one shape that is published. The demo model has its own.
func (f *findings) shape(file *gguf.File, s model.Shape) {
	f.Checked = append(f.Checked, "shape")
	diff := differences(s, backend.Flash())
	if is, _ := synth.IsDemo(file); is {
		f.note("the demo model: a small shape of the same kind")
		if !demo.Current(file) {
			f.note("made by another version of ds4: \"ds4 demo-model\" makes a new one")
		}
		return
	}
	for _, d := range diff {
		f.problem(fmt.Errorf("shape of DeepSeek V4 Flash: %s", d))
	}
}

// differences names the fields in which two shapes differ.
func differences(got, want model.Shape) []string {
	var out []string
	g, w := reflect.ValueOf(got), reflect.ValueOf(want)
	for i := range g.NumField() {
		if a, b := g.Field(i).Interface(), w.Field(i).Interface(); !reflect.DeepEqual(a, b) {
			out = append(out, fmt.Sprintf("%s: want %v, got %v", strings.ToLower(g.Type().Field(i).Name), b, a))
		}
	}
	return out
}

// tensors holds every tensor against the inventory of the file's shape, and, where the data is there, the tables of expert
// ids against their bounds.
func (f *findings) tensors(file *gguf.File, s model.Shape, data bool) {
	f.Checked = append(f.Checked, "tensors")
	bad := model.CheckFile(file, s)
	for _, err := range bad {
		f.problem(err)
	}
	known := map[string]bool{}
	for _, spec := range model.Inventory(s) {
		known[spec.Name] = true
	}
	unused := 0
	for t := range file.Tensors() {
		if !known[t.Name] {
			if unused++; unused <= 3 {
				f.note("tensor %s is not used", t.Name)
			}
		}
	}
	if unused > 3 {
		f.note("%d more tensors are not used", unused-3)
	}
	if len(bad) > 0 || !data {
		return
	}
	b, err := null.New(s, model.Limits{CtxTokens: 1, Seqs: 1, Slots: 1, Rows: 1, Outs: 1, Tops: 1})
	if err == nil {
		_, err = model.Load(file, s, b, nil) // reads the tables; a null backend takes the rest as it is
	}
	if err != nil {
		f.problem(err)
	}
}

func (f *findings) write(w io.Writer, path string) {
	for _, p := range f.Problems {
		_, _ = fmt.Fprintf(w, "wrong: %s\n", p) // a bufio.Writer keeps its error for Flush
	}
	for _, n := range f.Notes {
		_, _ = fmt.Fprintf(w, "note:  %s\n", n)
	}
	if len(f.Problems) == 0 {
		_, _ = fmt.Fprintf(w, "%s: good (%s)\n", path, strings.Join(f.Checked, ", "))
		return
	}
	_, _ = fmt.Fprintf(w, "%s: problems: %d\n", path, len(f.Problems))
}
