package cuda

import (
	"github.com/ds4-go/ds4/modules/gguf"
	"github.com/ds4-go/ds4/modules/model/backend"
)

// Embed: see backend.EmbedArgs.
func (b *Backend) Embed(a backend.EmbedArgs) {
	do(b, opEmbed, -1, func(c *calls) *[]backend.EmbedArgs { return &c.embed }, a, (*Backend).embed)
}

func (b *Backend) embed(a backend.EmbedArgs) {
	launch(b, kEmbed, b.bound.rows, 1, 1, 256, 0, embedArgs{step: b.scr.step, table: b.vector(a.Table), given: b.base(a.Given), hc: b.base(a.HC),
		d: int32(b.sh.Embd), f32: flag(a.Table.Type == gguf.TypeF32)})
}
