package cuda

import (
	"encoding/binary"
	"fmt"
	"strings"
	"unsafe"
)

// A kernel that faults makes itself known when the step is waited for, and by then the step is all that is known. So every
// hc_pre writes the number of its weight to the host's memory, which outlives the context: the fault lies between the last one
// that did and the next.

// markBytes is what the mark takes of the pinned block, before the room for small reads; the block is of words of four.
const markBytes = 8

var le = binary.LittleEndian

func (b *Backend) markWord() []byte { return b.block[len(b.block)-smallRead-markBytes:][:4] }

// mark is the word's address: pinned memory has one for both sides.
func (b *Backend) mark() addr { return addr(uintptr(unsafe.Pointer(unsafe.SliceData(b.markWord())))) }

// marked says how far a step came that faulted, and in which layer it was; −1 outside of them.
func (b *Backend) marked() (where string, layer int) {
	id := int(le.Uint32(b.markWord()))
	if id < 1 || id > len(b.weights) {
		return "before any hc_pre", -1
	}
	name := strings.TrimSuffix(b.weights[id-1].name, ".weight")
	if _, err := fmt.Sscanf(name, "blk.%d.", &layer); err != nil {
		layer = -1
	}
	switch {
	case strings.Contains(name, "hc_attn"):
		where = "in the attention half"
	case strings.Contains(name, "hc_ffn"):
		where = "in the feed-forward half"
	default:
		where = "after " + name
	}
	return where, layer
}
