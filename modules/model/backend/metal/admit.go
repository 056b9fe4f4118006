package metal

import (
	"fmt"

	"github.com/ds4-go/ds4/modules/model/backend"
)

// reserveBytes is what the system and other programs keep.
const reserveBytes = 2 << 30

// Need is what an engine of this shape and these limits takes beside the weights, in bytes: state, activations, scratch.
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

// Admit says before anything is allocated whether weights and needs fit a machine whose GPU can use workingSet bytes and whose
// system can give free (0: not known), files in its cache included, for that is where weights lie. Its error says what would
// fit, and what can be done.
func Admit(name string, workingSet, free, weights int64, sh backend.Shape, lim backend.Limits) error {
	room := workingSet - weights
	need := Need(sh, lim)
	gib := func(n int64) string { return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30)) }
	if need <= room {
		if all := weights + need + reserveBytes; free > 0 && all > free {
			return fmt.Errorf("metal: %s: want %s of free memory (weights %s, context of %d tokens and scratch %s, %s for the system), got %s: close other programs%s: %w",
				name, gib(all), gib(weights), lim.CtxTokens, gib(need), gib(reserveBytes), gib(free), shorter(sh, lim, free-weights-reserveBytes), backend.ErrMemory)
		}
		return nil
	}
	err := fmt.Errorf("metal: %s: want %s (weights %s, context of %d tokens and scratch %s), the GPU can use %s",
		name, gib(weights+need), gib(weights), lim.CtxTokens, gib(need), gib(workingSet))
	if s := shorter(sh, lim, room); s != "" {
		return fmt.Errorf("%w%s: %w", err, s, backend.ErrMemory)
	}
	if less := lim; less.Rows > 256 {
		less.Rows, less.CtxTokens = 256, min(lim.CtxTokens, 4096)
		if Need(sh, less) <= room {
			return fmt.Errorf("%w; steps of %d rows and a context of %d tokens would fit: %w", err, less.Rows, less.CtxTokens, backend.ErrMemory)
		}
	}
	const advice = "a smaller quantisation is needed, or a higher limit: \"sudo sysctl iogpu.wired_limit_mb=N\" lets the GPU wire N MB until the next start; " +
		"leave at least 8 GB to the system, or it may freeze"
	return fmt.Errorf("%w; no context fits: %s: %w", err, advice, backend.ErrMemory)
}

// shorter says which context fits the room, if one does.
func shorter(sh backend.Shape, lim backend.Limits, room int64) string {
	for lim.CtxTokens /= 2; lim.CtxTokens >= 1024; lim.CtxTokens /= 2 {
		if Need(sh, lim) <= room {
			return fmt.Sprintf("; a context of %d tokens would fit", lim.CtxTokens)
		}
	}
	return ""
}

func (b *Backend) admit() error {
	i := b.d.Info()
	return Admit(i.Name, int64(i.WorkingSetBytes), int64(b.d.Available()), b.opt.WeightBytes, b.sh, b.lim)
}
