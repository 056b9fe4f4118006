package synth

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"testing"

	"github.com/ds4-go/ds4/modules/gguf"
)

// TestTinyWeights pins the generator: the hash is over all tensor data in ascending byte order of name.
func TestTinyWeights(t *testing.T) {
	for _, c := range []struct {
		tiny  Tiny
		bytes int
		sum   string
	}{
		{T1(), 13258972, "7c6484978b6275b84ca0a5f289c72a87dc18a96a6f471ca89a9af98b64a233ce"},
		{T1Q4(), 19452124, "cc81cfb46f234aef763b67aa5095f67746d36e704041a878857ba509a369ba68"},
		{T2(), 71222268, "864e1dfbb7d329312f75df0a7ab18e0a6099fd34f6f3237336de7fd522f46dd6"},
	} {
		data := map[string][]byte{}
		var names []string
		size := 0
		err := c.tiny.Tensors(func(g gguf.Tensor, p []byte) error {
			names, data[g.Name] = append(names, g.Name), p
			size += len(p)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if size != c.bytes {
			t.Errorf("%s: want %d tensor bytes, got %d", c.tiny.Name, c.bytes, size)
		}
		slices.Sort(names)
		h := sha256.New()
		for _, n := range names {
			h.Write(data[n])
		}
		if got := hex.EncodeToString(h.Sum(nil)); got != c.sum {
			t.Errorf("%s: want weights %s, got %s", c.tiny.Name, c.sum, got)
		}
	}
}
