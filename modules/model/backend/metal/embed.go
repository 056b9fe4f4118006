package metal

import (
	"github.com/ds4-go/ds4/modules/gguf"
	"github.com/ds4-go/ds4/modules/metal/kernels"
	"github.com/ds4-go/ds4/modules/model/backend"
)

// Embed: see backend.EmbedArgs.
func (b *Backend) Embed(a backend.EmbedArgs) {
	if !b.begin("embed", -1) {
		return
	}
	p := kernels.Embed{Width: int32(b.sh.Embd), F32: flag(a.Table.Type == gguf.TypeF32)}
	b.barrier()
	launch(b, kEmbed, size(ceil(b.sh.Embd, 256), len(b.step.Rows), 1), line(256), &p, b.stepRef(), b.vector(a.Table), b.whole(a.Given), b.whole(a.HC))
}
