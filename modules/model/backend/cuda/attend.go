package cuda

import "github.com/ds4-go/ds4/modules/model/backend"

// Heads of a block and visible rows of a tile: kernels/attend.cu.
const (
	attendHeads = 16
	attendTile  = 64
	wideHeads   = 64 // of a block of attend_wide
)

// attendRoom is a block's shared memory.
func attendRoom(d int) int {
	return (attendTile+attendHeads)*(d+8)*2 + attendHeads*(attendTile+8)*2 + attendHeads*attendTile*4 + attendTile*8 + 2*attendHeads*4
}

// wideRoom is a block's shared memory in kernels/attend_wide.cu.
func wideRoom(s *backend.Shape) int {
	return (attendTile+wideHeads)*(s.HeadDim+8)*2 + wideHeads*(attendTile+8)*2 + wideHeads*attendTile*4 + attendTile*8 + 2*wideHeads*4 +
		attendTile*s.KVRowBytes()
}

// wideAttend says whether blocks have the room.
func (b *Backend) wideAttend() bool {
	return b.dev.SharedBytes >= wideRoom(&b.sh) && b.sh.KVRowBytes()%16 == 0
}

// Attend: see backend.AttendArgs.
func (b *Backend) Attend(a backend.AttendArgs) {
	do(b, opAttend, a.Layer, func(c *calls) *[]backend.AttendArgs { return &c.attend }, a, (*Backend).attend)
}

func (b *Backend) attend(a backend.AttendArgs) {
	s, sh, rows := &b.scr, &b.sh, b.bound.rows
	p := attendArgs{step: s.step, q: b.base(a.Q), kv: b.base(a.KV), sinks: b.vector(a.Sinks), rope: s.ropes, part: s.attendPart, partML: s.attendML,
		o: b.base(a.O), f: s.o, st: b.state(a.State, a.Layer), heads: int32(sh.Heads), d: int32(sh.HeadDim), ropeDim: int32(sh.RopeDim),
		window: int32(sh.Window), topk: int32(sh.TopK), kind: b.ropeKind(a.Layer), tiles: int32(s.tiles), scale: rsqrt(sh.HeadDim), eps: sh.RMSEps}
	if b.due.heads == a.Q {
		p.raw, b.due.taken = 1, true
	}
	tiles := (sh.Window + attendTile - 1) / attendTile
	if ratio := b.ratio(a.Layer); ratio == 4 {
		p.sel = b.base(a.Sel)
		tiles = (sh.Window + sh.TopK + attendTile - 1) / attendTile
	} else if ratio != 0 {
		tiles = (sh.Window + b.lim.CtxTokens/ratio + attendTile - 1) / attendTile
	}
	groups := (sh.Heads + attendHeads - 1) / attendHeads
	if rows <= fewAttend {
		launch(b, kAttendTiles, tiles, groups, rows, 256, attendRoom(sh.HeadDim), p)
		launch(b, kAttendMerge, (sh.Heads*((sh.HeadDim+255)/256)+7)/8, rows, 1, 256, 0, p)
	} else if b.wideAttend() {
		launch(b, kAttendWide, (sh.Heads+wideHeads-1)/wideHeads, rows, 1, 512, wideRoom(sh), p)
	} else {
		launch(b, kAttendRows, groups, rows, 1, 256, attendRoom(sh.HeadDim), p)
	}
	b.made.o = a.O.ID
}
