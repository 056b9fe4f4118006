package cuda

import (
	"encoding/binary"

	"github.com/ds4-go/ds4/modules/gguf"
)

// selectors is the IQ2_XXS codebook as the kernels look it up: an entry's nibble i is twice the level of element i, and with
// the sign in its lowest bit it selects one of +8 −8 +25 −25 +43 −43.
func selectors() [1024]byte {
	var t [1024]byte
	for e, mags := range gguf.IQ2XXSGrid() {
		v := uint32(0)
		for i := range 8 {
			switch mags >> (8 * i) & 255 {
			case 25:
				v |= 2 << (4 * i)
			case 43:
				v |= 4 << (4 * i)
			}
		}
		binary.LittleEndian.PutUint32(t[4*e:], v)
	}
	return t
}
