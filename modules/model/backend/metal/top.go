package metal

import (
	"encoding/binary"
	"math"
	"unsafe"

	"github.com/ds4-go/ds4/modules/metal/kernels"
	"github.com/ds4-go/ds4/modules/model/backend"
)

const topPartBytes = int64(unsafe.Sizeof(kernels.TopPart{}))

// topParts is the number of pieces that the vocabulary is cut into.
func topParts(sh *backend.Shape) int { return ceil(sh.Vocab, kernels.TopPiece) }

// Top: see backend.TopArgs. The GPU finds candidates, and sums of each piece; finishTops adds these in f64.
func (b *Backend) Top(a backend.TopArgs) {
	if !b.begin("top", -1) || len(b.step.Tops) == 0 {
		return
	}
	s, n := &b.scr, len(b.step.Tops)
	p := kernels.Top{Vocab: int32(b.sh.Vocab), MaskWords: int32(ceil(b.sh.Vocab, 32)), Parts: int32(topParts(&b.sh))}
	b.barrier()
	launch(b, kTopParts, size(int(p.Parts), n, 1), line(256), &p, b.stepRef(), b.whole(a.Logits), b.whole(a.Masks), s.topParts)
	b.barrier()
	launch(b, kTopMerge, line(n), line(256), &p, b.stepRef(), b.whole(a.Logits), s.topParts, s.topKeys, b.whole(a.Top))
	b.tops = b.buf(a.Top)
}

// finishTops writes the sums of every record, once the pieces are there.
func (b *Backend) finishTops() {
	if b.tops == nil || b.step == nil {
		return
	}
	per := topParts(&b.sh)
	parts := unsafe.Slice((*kernels.TopPart)(unsafe.Pointer(unsafe.SliceData(b.scr.topParts.buf.Bytes()))), per*len(b.step.Tops))
	for i := range b.step.Tops {
		finishTop(b.tops.at(i), parts[i*per:(i+1)*per], float64(b.step.Tops[i].InvTemp))
	}
	b.tops = nil
}

func finishTop(record []byte, parts []kernels.TopPart, invTemp float64) {
	maxRaw, maxAdj := float32(math.Inf(-1)), float32(math.Inf(-1))
	for i := range parts {
		maxRaw, maxAdj = max(maxRaw, parts[i].MaxRaw), max(maxAdj, parts[i].MaxAdj)
	}
	raw, adj := 0.0, 0.0
	for i := range parts {
		p := &parts[i]
		raw += float64(p.SumRaw) * math.Exp(float64(p.MaxRaw)-float64(maxRaw))
		if p.Allowed > 0 {
			adj += float64(p.SumAdj) * math.Exp((float64(p.MaxAdj)-float64(maxAdj))*invTemp)
		}
	}
	le := binary.LittleEndian
	le.PutUint64(record[backend.TopLogSumRaw:], math.Float64bits(float64(maxRaw)+math.Log(raw)))
	le.PutUint64(record[backend.TopSumAdj:], math.Float64bits(adj))
	le.PutUint32(record[backend.TopMaxRaw:], math.Float32bits(maxRaw))
	le.PutUint32(record[backend.TopMaxAdj:], math.Float32bits(maxAdj))
}
