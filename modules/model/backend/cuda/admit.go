package cuda

import (
	"fmt"

	"github.com/ds4-go/ds4/modules/model/backend"
)

// reserveBytes is kept free: the driver's own, modules, graphs.
const reserveBytes = 768 << 20

// Need is what a model with these limits takes on a card beyond its weights: the rings, one full context of pages and
// those that snapshots take (further pages are committed as they are used), activations and scratch.
func Need(sh backend.Shape, lim backend.Limits) int64 {
	n := int64(0)
	for il := range sh.Layers {
		n += int64(lim.Slots)*int64(sh.SlotPartBytes(il)) + int64(lim.TablePages()+lim.Slots)*int64(sh.PagePartBytes(il))
	}
	n += int64(lim.Slots) * int64(sh.SlotPartBytes(sh.Layers))
	heads := int64(sh.Heads * sh.HeadDim)
	row := 4 * (int64(backend.Streams*sh.Embd) + backend.MixWidth + int64(sh.QRank) + 2*heads + int64(sh.TopK) + 2*int64(sh.Embd))
	n += int64(lim.Rows)*(row+int64(sh.KVRowBytes())) + 4*int64(lim.Outs)*int64(sh.Embd+sh.Vocab)
	var s scratch
	for _, u := range s.plan(&sh, &lim) {
		n += u.bytes
	}
	return n
}

// Admit says before anything is allocated whether weights and needs fit. Its error tells which context would.
func Admit(name string, free, total, weights int64, sh backend.Shape, lim backend.Limits) error {
	room := free - reserveBytes - weights - weights/50 // tiles are at most a fiftieth larger than the file's blocks on average
	need := Need(sh, lim)
	if need <= room {
		return nil
	}
	gib := func(n int64) string { return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30)) }
	err := fmt.Errorf("cuda: %s: want %s (weights %s, context of %d tokens and scratch %s), got %s free of %s",
		name, gib(weights+need+reserveBytes), gib(weights), lim.CtxTokens, gib(need), gib(free), gib(total))
	less := lim
	for less.CtxTokens /= 2; less.CtxTokens >= 1024; less.CtxTokens /= 2 {
		if Need(sh, less) <= room {
			return fmt.Errorf("%w; a context of %d tokens would fit: %w", err, less.CtxTokens, backend.ErrMemory)
		}
	}
	return fmt.Errorf("%w; no context fits: a smaller quantisation or a larger card is needed: %w", err, backend.ErrMemory)
}
