package backendtest

import (
	"testing"

	"github.com/ds4-go/ds4/modules/gguf"
	"github.com/ds4-go/ds4/modules/model/backend"
)

// Two int8 products side by side.
var draftJoin = operation{
	name: "draft_join", layers: outside,
	in:  []field{{name: "tap", gen: normal}},
	out: []field{{name: "hc", bound: intBound}},
	adjust: func(s *backend.Step) {
		s.Tape = backend.Draft
		for i := range s.Rows {
			s.Rows[i].From = int32(i)
		}
	},
	run: func(r *rig, _ int) {
		a := r.draft
		a.Prev, a.HC = r.bufs["tap"], r.bufs["hc"]
		r.b.DraftJoin(a)
	},
}

// bindDraft binds square q8_0 projections and norms, which no tiny file has.
func (r *rig) bindDraft(t *testing.T) {
	t.Helper()
	d := r.sh.Embd
	g := newGen(7, "draft", 0)
	vector := func(name string) backend.Weight {
		p := make([]byte, 4*d)
		normal(g, p)
		return r.bind(t, &gguf.Tensor{Name: name, Type: gguf.TypeF32, Dims: []uint64{uint64(d)}, Bytes: uint64(len(p))}, p)
	}
	square := func(name string) backend.Weight {
		p := make([]byte, d*d/32*34)
		for i := 0; i < len(p); i += 34 {
			h := gguf.Float32ToFloat16(0.0005 * (1 + g.Float32()))
			p[i], p[i+1] = byte(h), byte(h>>8)
			for j := range 32 {
				p[i+2+j] = byte(int8(g.IntN(255) - 127))
			}
		}
		return r.bind(t, &gguf.Tensor{Name: name, Type: gguf.TypeQ8_0, Dims: []uint64{uint64(d), uint64(d)}, Bytes: uint64(len(p))}, p)
	}
	r.draft = backend.DraftJoinArgs{Table: r.w.TokenEmbd, ENorm: vector("mtp.0.enorm.weight"), HNorm: vector("mtp.0.hnorm.weight"),
		EProj: square("mtp.0.e_proj.weight"), HProj: square("mtp.0.h_proj.weight")}
}

func (r *rig) bind(t *testing.T, g *gguf.Tensor, p []byte) backend.Weight {
	t.Helper()
	w, err := r.b.Bind(g, p)
	if err != nil {
		t.Fatal(err)
	}
	return w
}
