package backendtest

import (
	"bytes"
	"testing"

	"github.com/ds4-go/ds4/modules/model/backend"
)

// compareState compares what a step left in rings and pages. Every byte must be the oracle's, but for the values of rows
// that this step wrote, which may differ as far as their bounds allow.
func compareState(t *testing.T, s *backend.Step, il int, got, want *rig) {
	t.Helper()
	for i := range int(got.state.Slots.Rows) {
		g, w := got.read("slots", i), want.read("slots", i)
		at := 0
		for l := range got.sh.Layers + 1 {
			n := got.sh.SlotPartBytes(l)
			if l != il {
				if !bytes.Equal(g[at:at+n], w[at:at+n]) {
					t.Fatalf("slot %d: the part of layer %d was written by layer %d", i, l, il)
				}
			} else {
				compareSlot(t, s, il, i, got, g[at:at+n], w[at:at+n])
			}
			at += n
		}
	}
	for i := range int(got.state.Pages.Rows) {
		g, w := got.read("pages", i), want.read("pages", i)
		at := 0
		for l := range got.sh.Layers {
			n := got.sh.PagePartBytes(l)
			if l != il {
				if !bytes.Equal(g[at:at+n], w[at:at+n]) {
					t.Fatalf("page %d: the part of layer %d was written by layer %d", i, l, il)
				}
			} else {
				comparePage(t, s, il, i, got, g[at:at+n], w[at:at+n])
			}
			at += n
		}
	}
}

// writer is the span that wrote a slot in this step, if any.
func writer(s *backend.Step, slot int) (backend.Span, bool) {
	for _, sp := range s.Spans {
		if int(sp.Into) == slot {
			return sp, true
		}
	}
	return backend.Span{}, false
}

func compareSlot(t *testing.T, s *backend.Step, il, slot int, r *rig, got, want []byte) {
	t.Helper()
	sp, written := writer(s, slot)
	fresh := func(ring, row int) bool { // position of this step
		if !written {
			return false
		}
		for p := max(int(sp.Pos), int(sp.Pos+sp.Rows)-ring); p < int(sp.Pos+sp.Rows); p++ {
			if p%ring == row {
				return true
			}
		}
		return false
	}
	// rows of a spare slot that stand for no position yet hold anything
	unused := func(row int) bool { return written && sp.Into != sp.Slot && row >= int(sp.Pos+sp.Rows) }
	size, ring := r.sh.KVRowBytes(), r.sh.RawRing()
	for row := range ring {
		g, w := got[row*size:(row+1)*size], want[row*size:(row+1)*size]
		if fresh(ring, row) {
			if e := kvError(&comparison{sh: &r.sh}, g, w); !(e <= kvBound) {
				t.Fatalf("slot %d, raw ring row %d: want an error of at most %.3g, got %.3g", slot, row, kvBound, e)
			}
		} else if !unused(row) && !bytes.Equal(g, w) {
			t.Fatalf("slot %d, raw ring row %d: not written in this step, but differs", slot, row)
		}
	}
	if il >= r.sh.Layers || r.sh.Ratio[il] == 0 {
		return
	}
	got, want = got[ring*size:], want[ring*size:]
	size, ring = 4*r.sh.CompRowFloats(il), r.sh.CompRing(il)
	for row := range ring {
		g, w := got[row*size:(row+1)*size], want[row*size:(row+1)*size]
		if fresh(ring, row) {
			if e := rmsError(floats(g), floats(w)); !(e <= projectionBound) {
				t.Fatalf("slot %d, compressor ring row %d: want an error of at most %.3g, got %.3g", slot, row, projectionBound, e)
			}
		} else if !unused(row) && !bytes.Equal(g, w) {
			t.Fatalf("slot %d, compressor ring row %d: not written in this step, but differs", slot, row)
		}
	}
}

func comparePage(t *testing.T, s *backend.Step, il, page int, r *rig, got, want []byte) {
	t.Helper()
	if r.sh.Ratio[il] == 0 {
		return
	}
	fresh := map[int]bool{}
	for _, row := range s.Rows {
		if int(row.Pos+1)%r.sh.Ratio[il] == 0 {
			seq, c := int(s.Spans[row.Span].Seq), int(row.Pos)/r.sh.Ratio[il]
			if pageOf(seq, c/r.sh.PageRows(il)) == page {
				fresh[c%r.sh.PageRows(il)] = true
			}
		}
	}
	size := r.sh.KVRowBytes()
	for c := range r.sh.PageRows(il) {
		g, w := got[c*size:(c+1)*size], want[c*size:(c+1)*size]
		if fresh[c] {
			if e := kvError(&comparison{sh: &r.sh}, g, w); !(e <= kvBound) {
				t.Fatalf("page %d, row %d: want an error of at most %.3g, got %.3g", page, c, kvBound, e)
			}
		} else if !bytes.Equal(g, w) {
			t.Fatalf("page %d, row %d: not completed in this step, but differs", page, c)
		}
		if !r.sh.Indexed(il) {
			continue
		}
		gi, wi := r.indexRow(got, il, c), r.indexRow(want, il, c)
		if e := rmsError(gi, wi); fresh[c] && !(e <= indexBound) || !fresh[c] && e != 0 {
			t.Fatalf("page %d, index row %d (completed: %v): got an error of %.3g", page, c, fresh[c], e)
		}
	}
}
