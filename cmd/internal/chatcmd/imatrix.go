package chatcmd

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"unsafe"

	"github.com/ds4-go/ds4/cmd/internal/cli"
	"github.com/ds4-go/ds4/cmd/internal/engine"
	"github.com/ds4-go/ds4/modules/gguf"
	"github.com/ds4-go/ds4/modules/model"
	"github.com/ds4-go/ds4/modules/model/backend"
)

// imatrixOptions ask for an importance matrix: how much each input of each expert matters to a quantiser.
type imatrixOptions struct {
	dataset, out         string
	maxPrompts, maxToken int
}

func (o *imatrixOptions) flags(s *cli.Set) {
	s.String(&o.dataset, "--imatrix-dataset", "FILE", "measure the experts' inputs over prompts (lines of ===== part them)")
	s.String(&o.out, "--imatrix-out", "FILE", "where to write the importance matrix")
	s.Int(&o.maxPrompts, "--imatrix-max-prompts", "N", "prompts to read (all)", 1, 1<<30)
	s.Int(&o.maxToken, "--imatrix-max-tokens", "N", "tokens to read (all)", 1, 1<<30)
}

func (o *imatrixOptions) check(s *cli.Set) error {
	switch {
	case (o.dataset == "") != (o.out == ""):
		return s.Usagef("--imatrix-dataset and --imatrix-out: want both of them")
	case o.dataset == "" && (o.maxPrompts > 0 || o.maxToken > 0):
		return s.Usagef("--imatrix-max-prompts and --imatrix-max-tokens: want --imatrix-dataset as well")
	}
	return nil
}

// observer sums the squares of what goes into the experts' matrices.
type observer struct {
	backend.Backend
	s      model.Shape
	h      backend.Buf // (rows, K, F): weighted gated products
	rows   int         // of the step
	layers []observed
	x, mid []float32
	ids    []int32
}

// observed is one layer: sums by expert, (E, D) and (E, F), and how often each expert was chosen.
type observed struct {
	in, mid []float64
	count   []int
}

func observe(b backend.Backend, s model.Shape, l model.Limits) (*observer, error) {
	h, err := b.Alloc("imatrix", l.Rows, backend.Part{Type: backend.F32, Rows: int32(s.ActiveExps), Cols: int32(s.ExpertDim)})
	if err != nil {
		return nil, err
	}
	o := &observer{Backend: b, s: s, h: h, layers: make([]observed, s.Layers),
		x: make([]float32, l.Rows*s.Embd), mid: make([]float32, l.Rows*s.ActiveExps*s.ExpertDim), ids: make([]int32, l.Rows*s.ActiveExps)}
	for il := range o.layers {
		o.layers[il] = observed{make([]float64, s.Experts*s.Embd), make([]float64, s.Experts*s.ExpertDim), make([]int, s.Experts)}
	}
	return o, nil
}

// Begin remembers how many rows the step has.
func (o *observer) Begin(s *backend.Step) {
	o.rows = len(s.Rows)
	o.Backend.Begin(s)
}

// Experts runs them and reads what went in.
func (o *observer) Experts(a backend.ExpertsArgs) {
	a.H = o.h
	o.Backend.Experts(a)
	if int(a.Layer) >= len(o.layers) {
		return // the draft head's
	}
	d, k, f := o.s.Embd, o.s.ActiveExps, o.s.ExpertDim
	x, mid, ids := o.x[:o.rows*d], o.mid[:o.rows*k*f], o.ids[:o.rows*k]
	o.Read(raw(x), a.X, 0, nil)
	o.Read(raw(mid), a.H, 0, nil)
	o.Read(raw(ids), a.IDs, 0, nil)
	l := &o.layers[a.Layer]
	for i, id := range ids {
		if id < 0 || int(id) >= o.s.Experts {
			continue // an operation before this one failed, and Wait will tell
		}
		l.count[id]++
		add(l.in[int(id)*d:][:d], x[i/k*d:][:d])
		add(l.mid[int(id)*f:][:f], mid[i*f:][:f])
	}
}

func add(sum []float64, v []float32) {
	for i, x := range v {
		sum[i] += float64(x) * float64(x)
	}
}

// raw views numbers as the bytes a backend reads into. Hosts are little-endian.
func raw[T float32 | int32](v []T) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(v))), 4*len(v))
}

// means are the entries of the file: by expert the mean square of each column, ones where an expert was never chosen.
func (o *observer) means() []gguf.Importance {
	var out []gguf.Importance
	for il, l := range o.layers {
		in, mid := mean(l.in, l.count), mean(l.mid, l.count)
		for _, e := range []struct {
			name string
			v    []float32
		}{{"gate", in}, {"up", in}, {"down", mid}} {
			out = append(out, gguf.Importance{Name: fmt.Sprintf("blk.%d.ffn_%s_exps.weight", il, e.name), Values: e.v})
		}
	}
	return out
}

func mean(sum []float64, count []int) []float32 {
	out, cols := make([]float32, len(sum)), len(sum)/len(count)
	for i := range out {
		out[i] = 1
		if n := count[i/cols]; n > 0 {
			out[i] = float32(sum[i] / float64(n))
		}
	}
	return out
}

// imatrix reads the prompts and writes the matrix.
func (o *options) imatrixRun(ctx context.Context, stderr *os.File) error {
	text, err := readText("--imatrix-dataset", o.imatrix.dataset)
	if err != nil {
		return err
	}
	prompts := cutPrompts(text)
	if n := o.imatrix.maxPrompts; n > 0 && len(prompts) > n {
		prompts = prompts[:n]
	}
	if len(prompts) == 0 {
		return fmt.Errorf("--imatrix-dataset %s: want prompts, got nothing", o.imatrix.dataset)
	}
	var eye *observer
	m, err := o.open(ctx, stderr, engine.Hooks{Wrap: func(b backend.Backend, s model.Shape, l model.Limits) (backend.Backend, error) {
		var err error
		eye, err = observe(b, s, l)
		return eye, err
	}})
	if err != nil {
		return err
	}
	defer func() { _ = m.Close() }()
	line, total := cli.NewLine(stderr), 0
	for i, p := range prompts {
		ids := m.Tokenizer.EncodeTemplate(nil, p)
		if left := o.imatrix.maxToken - total; o.imatrix.maxToken > 0 && len(ids) > left {
			ids = ids[:left]
		}
		ids = ids[:min(len(ids), o.Ctx)]
		if len(ids) == 0 {
			break
		}
		q, err := m.NewSeq()
		if err != nil {
			return err
		}
		_, err = q.Feed(ctx, ids, 0, nil, func(done int) {
			line.Show("measuring prompt %d of %d: %d/%d tokens", i+1, len(prompts), done, len(ids))
		})
		q.Free()
		if err != nil {
			line.Done("")
			return err
		}
		total += len(ids)
	}
	line.Done(fmt.Sprintf("measured %d tokens of %d prompts", total, len(prompts)))
	return writeImatrix(o.imatrix.out, eye.means(), total, o.imatrix.dataset)
}

// cutPrompts splits a data set at lines that begin with five equals signs.
func cutPrompts(text string) []string {
	var out []string
	var b strings.Builder
	flush := func() {
		if s := strings.TrimSpace(b.String()); s != "" {
			out = append(out, s)
		}
		b.Reset()
	}
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "=====") {
			flush()
			continue
		}
		b.WriteString(line)
	}
	flush()
	return out
}

func writeImatrix(path string, list []gguf.Importance, chunks int, dataset string) error {
	return replaceFile("--imatrix-out", path, func(w *bufio.Writer) error {
		return gguf.WriteImportance(w, list, int32(chunks), filepath.Base(dataset))
	})
}
