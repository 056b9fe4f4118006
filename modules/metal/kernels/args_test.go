//go:build linux && amd64

package kernels_test

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"unsafe"

	"github.com/ds4-go/ds4/modules/metal"
	"github.com/ds4-go/ds4/modules/metal/kernels"
	"github.com/ds4-go/ds4/modules/metal/standin"
)

func open(t testing.TB) *metal.Device {
	t.Helper()
	path, err := standin.Build()
	if errors.Is(err, standin.ErrNoCompiler) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	d, err := metal.Open(metal.Options{Library: path})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Close)
	return d
}

// structs pairs the sources' structs with Go's.
var structs = map[string]any{
	"step_head": kernels.Head{}, "state_args": kernels.State{}, "matrix_args": kernels.Matrix{}, "product_args": kernels.Product{},
	"quantize_args": kernels.Quantize{}, "embed_args": kernels.Embed{}, "hc_args": kernels.HC{}, "hc_pre_args": kernels.HCPre{},
	"latent_args": kernels.Latent{}, "heads_args": kernels.Heads{}, "keep_args": kernels.Keep{}, "compress_args": kernels.Compress{},
	"index_args": kernels.Index{}, "attend_args": kernels.Attend{}, "route_args": kernels.Route{}, "experts_args": kernels.Experts{},
	"draft_args": kernels.Draft{}, "top_args": kernels.Top{}, "top_part": kernels.TopPart{},
	"latent_rows_args": kernels.LatentRows{}, "query_args": kernels.Query{}, "out_args": kernels.Out{}, "down_args": kernels.Down{},
}

// fields are the names of a source struct's members, in order.
func fields(t *testing.T, source, name string) []string {
	t.Helper()
	_, body, ok := strings.Cut(source, "struct "+name+" {")
	if !ok {
		t.Fatalf("no struct %s", name)
	}
	body, _, _ = strings.Cut(body, "\n}")
	if one, _, ok := strings.Cut(body, "};"); ok && !strings.Contains(one, "\n") {
		body = one
	}
	var out []string
	for line := range strings.Lines(body) {
		line, _, _ = strings.Cut(line, "//")
		for decl := range strings.SplitSeq(line, ";") {
			decl = strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(decl), "}"))
			_, names, ok := strings.Cut(decl, " ")
			if !ok {
				continue
			}
			for n := range strings.SplitSeq(names, ",") {
				n, _, _ = strings.Cut(strings.TrimSpace(n), "[")
				out = append(out, n)
			}
		}
	}
	return out
}

// TestArguments compares names, offsets and sizes with what the compiler of the sources says.
func TestArguments(t *testing.T) {
	source := kernels.Source()
	var body strings.Builder
	type want struct {
		what string
		v    uintptr
	}
	var wants []want
	for name, v := range structs {
		typ := reflect.TypeOf(v)
		names := fields(t, source, name)
		if len(names) != typ.NumField() {
			t.Errorf("%s: %d members %v, Go has %d", name, len(names), names, typ.NumField())
			continue
		}
		add := func(what, expr string, v uintptr) {
			fmt.Fprintf(&body, "    out[%d] = %s;\n", len(wants), expr)
			wants = append(wants, want{name + what, v})
		}
		add("", "sizeof("+name+")", typ.Size())
		for i, n := range names {
			f := typ.Field(i)
			if g := strings.ToLower(f.Name); g != "_" && g != strings.ReplaceAll(n, "_", "") {
				t.Errorf("%s: member %d is %s, Go has %s", name, i, n, f.Name)
			}
			add("."+n, fmt.Sprintf("__builtin_offsetof(%s, %s)", name, n), f.Offset)
		}
	}
	source += "kernel void sizes(device uint * out [[buffer(0)]]) {\n" + body.String() + "}\n"
	d := open(t)
	l, err := d.Compile(source, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Release()
	p, err := l.Pipeline("sizes")
	if err != nil {
		t.Fatal(err)
	}
	defer p.Release()
	b, err := d.NewBuffer(4 * len(wants))
	if err != nil {
		t.Fatal(err)
	}
	defer b.Release()
	c, err := d.Commands()
	if err != nil {
		t.Fatal(err)
	}
	e := c.Compute(true)
	e.Pipeline(p)
	e.Buffer(0, b, 0)
	e.Dispatch(metal.Size{W: 1}, metal.Size{W: 1})
	e.End()
	c.Commit()
	if err := c.Wait(); err != nil {
		t.Fatal(err)
	}
	got := unsafe.Slice((*uint32)(unsafe.Pointer(unsafe.SliceData(b.Bytes()))), len(wants))
	for i, w := range wants {
		if uintptr(got[i]) != w.v {
			t.Errorf("%s: %d in the source, %d in Go", w.what, got[i], w.v)
		}
	}
}

// TestNames compares the list of entry points with the sources.
func TestNames(t *testing.T) {
	d := open(t)
	l, err := d.Compile(kernels.Source(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Release()
	for _, n := range kernels.Names() {
		p, err := l.Pipeline(n)
		if err != nil {
			t.Error(err)
			continue
		}
		t.Logf("%-32s %5d bytes of threadgroup memory", n, p.GroupBytes)
		p.Release()
	}
}
