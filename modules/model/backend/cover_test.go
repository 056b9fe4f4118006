package backend_test

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"unicode"

	"github.com/ds4-go/ds4/modules/model/backend"
	"github.com/ds4-go/ds4/modules/model/backend/null"
	"github.com/ds4-go/ds4/modules/model/backend/probe"
)

// verbs are the methods of Backend that are no operations.
var verbs = map[string]bool{"Bind": true, "Alloc": true, "Memory": true, "Close": true, "Write": true, "Copy": true, "Read": true, "Begin": true, "Wait": true}

// snake turns a method's name into the operation's: AttnQKV → attn_qkv.
func snake(name string) string {
	name = strings.NewReplacer("HC", "Hc", "QKV", "Qkv", "TopK", "Topk").Replace(name)
	var b strings.Builder
	for i, r := range name {
		if unicode.IsUpper(r) && i > 0 {
			b.WriteByte('_')
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String()
}

// TestOneNameEverywhere looks for a file of every operation's name in every folder that implements or tests it.
func TestOneNameEverywhere(t *testing.T) {
	typ := reflect.TypeFor[backend.Backend]()
	folders := map[string]string{"cpu": ".go", "backendtest": ".go", "cuda": ".go", "cuda/kernels": ".cu", "metal": ".go", "../../metal/kernels": ".metal"}
	for i := range typ.NumMethod() {
		if verbs[typ.Method(i).Name] {
			continue
		}
		op := snake(typ.Method(i).Name)
		for dir, ext := range folders {
			if _, err := os.Stat(dir); err != nil {
				continue // a backend that this tree does not have
			}
			if _, err := os.Stat(filepath.Join(dir, op+ext)); err != nil {
				t.Errorf("operation %s: %v", op, err)
			}
		}
	}
}

// TestProbeCoversEveryOperation calls every operation through the probe: embedding the interface would forward a new method silently.
func TestProbeCoversEveryOperation(t *testing.T) {
	sh := backend.Flash()
	n, err := null.New(sh, backend.Limits{CtxTokens: 10, Seqs: 1, Slots: 1, Rows: 1, Outs: 1, Tops: 1})
	if err != nil {
		t.Fatal(err)
	}
	p := probe.Wrap(n)
	var before, after []string
	p.Before = func(c probe.Call) { before = append(before, c.Op) }
	p.After = func(c probe.Call) { after = append(after, c.Op) }
	p.Begin(&backend.Step{Rows: []backend.Row{{From: -1}}, Spans: []backend.Span{{Rows: 1}}})
	v, want := reflect.ValueOf(p), 0
	typ := reflect.TypeFor[backend.Backend]()
	for i := range typ.NumMethod() {
		m := typ.Method(i)
		if verbs[m.Name] {
			continue
		}
		want++
		v.MethodByName(m.Name).Call([]reflect.Value{reflect.Zero(m.Type.In(0))})
		if len(before) != want || len(after) != want || before[want-1] != snake(m.Name) || len(n.Tape()) != want || n.Tape()[want-1] != snake(m.Name) {
			t.Fatalf("%s: probe saw %v and %v, null %v", m.Name, before, after, n.Tape())
		}
	}
	if err := p.Wait(); err != nil {
		t.Fatal(err)
	}
}
