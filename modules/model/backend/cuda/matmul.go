package cuda

import (
	"github.com/ds4-go/ds4/modules/gguf"
	"github.com/ds4-go/ds4/modules/model/backend"
)

// Which count of the step are tokens of a product (kernels/common.cuh).
const (
	countRows int32 = iota
	countOuts
)

// Shared memory of the product kernels: see kernels/tiles.cuh and matmul.cu.
const (
	sharedTile = 64*288 + 64*8*4 // activations of 64 tokens by 256 inputs
	sharedF16  = 2 * 64 * 576    // the activations in two f16 planes
	manyTokens = 64              // tokens of a block
	manyRows   = 128             // rows of a block
	fewTokens  = 32              // tokens up to which a product is bound by memory
	rowTokens  = 8               // tokens up to which a product may end in another operation
)

// What follows a product of at most rowTokens: kernels/matmul.cu.
const (
	finishStore int32 = iota
	finishQuantize
	finishGateQuantize
	finishAddProducts
)

// product is one launch of matrices that read the same activations.
type product struct {
	w      [4]backend.Weight
	out    [4]addr
	stride [4]int // floats between tokens of out; 0: the matrix' rows
	ape    [4]backend.Weight
	ratio  int // of the positions that ape is added by
	f      formsArgs
	x      addr // the activations themselves, for F32 matrices
	cols   int  // length of an activation row; 0: the matrix' width
	group  int  // rows that share inputs; 0: all
	which  int32
	perRow int // tokens to a row of the step; 0: 1
	add    bool

	finish   int32     // with at most rowTokens
	result   formsArgs // int8 form of the result, rows of width values
	width    int
	products addr // of the routed experts
}

// matmul launches a product, in as many parts as there are types.
func (b *Backend) matmul(p product) {
	done := [4]bool{}
	for i := range p.w {
		if done[i] || p.w[i].ID == 0 {
			continue
		}
		a, rows := b.gather(&p, i, &done)
		b.launchProduct(p.w[i].Type, a, rows, b.tokens(p.which)*int(a.perRow))
	}
}

// gather makes the arguments of all matrices from the i-th on that are of its kind, marks them as done, and counts their tiles.
func (b *Backend) gather(p *product, i int, done *[4]bool) (a matmulArgs, tiles int) {
	a = b.productArgs(p, i)
	n := 0
	for j := i; j < len(p.w); j++ {
		if p.w[j].ID == 0 || p.w[j].Type != p.w[i].Type || p.w[j].Cols != p.w[i].Cols {
			continue
		}
		if done != nil {
			done[j] = true
		}
		w := b.weight(p.w[j])
		a.w[n], a.out[n], a.m[n], a.stride[n] = w.base, p.out[j], int32(w.rows), int32(p.stride[j])
		if p.stride[j] == 0 {
			a.stride[n] = int32(w.rows)
		}
		if p.ape[j].ID != 0 {
			a.ape[n] = b.weight(p.ape[j]).base
			a.apeF32 = flag(p.ape[j].Type == gguf.TypeF32)
		}
		tiles += (w.rows + 15) / 16
		n++
	}
	return a, tiles
}

func (b *Backend) productArgs(p *product, i int) matmulArgs {
	w := b.weight(p.w[i])
	a := matmulArgs{step: b.scr.step, q: p.f.q8, d: p.f.q8d, hi: p.f.hi, lo: p.f.lo, k: int32(w.cols), cols: int32(p.cols), group: int32(p.group),
		which: p.which, perRow: int32(max(p.perRow, 1)), add: flag(p.add), ratio: int32(max(p.ratio, 1))}
	if a.cols == 0 {
		a.cols = a.k
	}
	if a.group == 0 {
		a.group = 1 << 30
	}
	if w.typ == gguf.TypeF32 {
		a.q = p.x
	}
	a.finish, a.q8, a.q8d, a.q8Cols, a.products = p.finish, p.result.q8, p.result.q8d, int32(p.width), p.products
	a.active, a.clamp = int32(b.sh.ActiveExps), b.sh.Clamp
	return a
}

// launchProduct chooses the kernel by the number of tokens. The bits are the same.
func (b *Backend) launchProduct(t gguf.Type, a matmulArgs, tiles, tokens int) {
	blocks := (tokens + manyTokens - 1) / manyTokens
	switch {
	case t == gguf.TypeF32:
		rows := 0
		for _, m := range a.m {
			rows += int(m)
		}
		launch(b, kMatmulF32, tokens, (rows+7)/8, 1, 256, 0, a)
	case t == gguf.TypeQ8_0 && tokens <= 8:
		b.launchFew(kMatmulQ8Few8, a, tiles, 1, tokens)
	case t == gguf.TypeQ8_0 && tokens <= 16:
		b.launchFew(kMatmulQ8Few16, a, tiles, 2, 0)
	case t == gguf.TypeQ8_0 && tokens <= fewTokens:
		b.launchFew(kMatmulQ8Few32, a, tiles, 4, 0)
	case t == gguf.TypeQ8_0 && a.group%manyRows != 0 && a.group < 1<<30:
		b.launchGroups(a, (int(a.k)+255)/256, tokens)
	case t == gguf.TypeQ8_0:
		launch(b, kMatmulQ8Many, blocks, (tiles+7)/8, 1, 256, 2*sharedTile, a)
	case tokens <= 8:
		b.launchFew(kMatmulF16Few8, a, tiles, 1, 0)
	case tokens <= fewTokens:
		b.launchFew(kMatmulF16Few32, a, tiles, 4, 0)
	default:
		launch(b, kMatmulF16Many, blocks, (tiles+7)/8, 1, 256, sharedF16, a)
	}
}

// fewRoom is what a block of "few" may take: it owns its multiprocessor.
func (b *Backend) fewRoom() int { return b.dev.SharedBytes - 2048 }

// stagedBytes is what tokens of k int8 activations take in a block.
func stagedBytes(k, tokens int) int {
	runs := (k + 255) / 256
	return tokens * (runs*256 + 32 + 4*(runs*8+4))
}

// launchPost8 is a product of few rows that ends in HCPost and the next HCPre's mix.
func (b *Backend) launchPost8(a matmulArgs, tokens int, tail hcTail) {
	a.tiles = 2
	shared := 2*((int(a.k)+255)/256*512+512) + tailBytes + stagedBytes(int(a.k), tokens)
	launch(b, kMatmulQ8Few8Post, int(a.m[0])/32, 1, 1, 512, shared, matmulPostArgs{a, tail})
}

// launchFew gives every multiprocessor one block, as far as partial sums have room; groups is of eight tokens, staged the
// tokens whose activations the block keeps.
func (b *Backend) launchFew(k kernel, a matmulArgs, tiles, groups, staged int) {
	runs, room := (int(a.k)+255)/256, b.fewRoom()
	each := runs*groups*512 + 512
	room -= stagedBytes(int(a.k), staged)
	unit := 1
	if a.finish == finishQuantize || a.finish == finishGateQuantize {
		unit = int(a.finish) * 2 // pairs of tiles make a block of 32; gated, of each matrix
	}
	most := max(unit, room/each/unit*unit) // tiles that a block has room for
	waves := (tiles + most*b.dev.SMs - 1) / (most * b.dev.SMs)
	n := (tiles + waves*b.dev.SMs - 1) / (waves * b.dev.SMs)
	n = min((n+unit-1)/unit*unit, most)
	if g := int(a.group) / 16; a.group < 1<<30 {
		for g%n != 0 {
			n -= unit
		}
	}
	a.tiles = int32(n)
	launch(b, k, (tiles+n-1)/n, 1, 1, 512, n*each+b.fewRoom()-room, a)
}

// launchGroups launches the groups of a Q8_0 matrix one by one: a block of "many" must not straddle two.
func (b *Backend) launchGroups(a matmulArgs, runs, tokens int) {
	groups, rows, k := a.m[0]/a.group, a.group, a.k
	a.m[0], a.group = rows, 1<<30
	for range groups {
		b.launchProduct(gguf.TypeQ8_0, a, (int(rows)+15)/16, tokens)
		a.w[0] += addr(int64((rows+15)/16) * int64(runs) * tileBytes(gguf.TypeQ8_0))
		a.out[0] += addr(4 * rows)
		a.q += addr(k)
		a.d += addr(k / 8)
	}
}

// tokens bounds a count of the step.
func (b *Backend) tokens(which int32) int {
	if which == countOuts {
		return b.bound.outs
	}
	return b.bound.rows
}

func flag(v bool) int32 {
	if v {
		return 1
	}
	return 0
}

// quantize makes forms of a buffer's rows. Rows are perRow to a row of the step.
func (b *Backend) quantize(f formsArgs, x addr, cols int, which int32, perRow int) {
	launch(b, kQuantize, b.tokens(which)*perRow, min((cols+1023)/1024, 64), 1, 128, 0,
		quantizeArgs{step: b.scr.step, x: x, f: f, cols: int32(cols), which: which, perRow: int32(perRow)})
}

// formsX are the forms of a sublayer's input, made here unless the operation before did.
func (b *Backend) formsX(x backend.Buf, which int32) formsArgs {
	if b.made.x != x.ID {
		b.quantize(b.scr.x, b.base(x), b.sh.Embd, which, 1)
		b.made.x = x.ID
	}
	return b.scr.x
}
