package metal

import (
	"github.com/ds4-go/ds4/modules/metal/kernels"
	"github.com/ds4-go/ds4/modules/model/backend"
)

// Attend: see backend.AttendArgs.
func (b *Backend) Attend(a backend.AttendArgs) {
	if !b.begin("attend", a.Layer) {
		return
	}
	b.launchAttention()
	s, sh, rows, ratio := &b.scr, &b.sh, len(b.step.Rows), b.ratio(a.Layer)
	st, slots, pages, table := b.state(a.State, a.Layer)
	p := kernels.Attend{Heads: int32(sh.Heads), Head: int32(sh.HeadDim), Rope: int32(sh.RopeDim), Kind: b.ropeKind(a.Layer), Window: int32(sh.Window),
		TopK: int32(sh.TopK), Tiles: int32(s.tiles), Scale: rsqrt(sh.HeadDim), Ratio: int32(ratio), St: st}
	sel := b.stepRef()
	if ratio == 4 {
		p.Indexed, sel = 1, b.whole(a.Sel)
	}
	b.barrier()
	groups := sh.Heads / kernels.AttendHeads
	if rows <= fewAttend {
		launch(b, kAttendTiles, size(b.attendTiles(ratio), groups, rows), line(256), &p, b.stepRef(), b.whole(a.Q), b.whole(a.KV), sel, slots, pages, table, s.attendPart, s.attendML)
		b.barrier()
		launch(b, kAttendMerge, size(sh.Heads, rows, 1), line(256), &p, b.stepRef(), b.vector(a.Sinks), s.attendPart, s.attendML, b.whole(a.O), s.o.q8, s.o.q8d)
	} else {
		launch(b, kAttendRows, size(groups, rows, 1), line(256), &p, b.stepRef(), b.whole(a.Q), b.whole(a.KV), sel, slots, pages, table, b.vector(a.Sinks), b.whole(a.O), s.o.q8, s.o.q8d)
	}
	b.made.o = a.O.ID
}

// attendTiles is the most tiles that a row of the step has.
func (b *Backend) attendTiles(ratio int) int {
	n := 0
	for i := range b.step.Spans {
		pos := int(b.step.Spans[i].Pos + b.step.Spans[i].Rows)
		v := min(pos, b.sh.Window)
		switch {
		case ratio == 4:
			v += min(pos/4, b.sh.TopK)
		case ratio != 0:
			v += pos / ratio
		}
		n = max(n, v)
	}
	return ceil(n, kernels.AttendTile)
}
