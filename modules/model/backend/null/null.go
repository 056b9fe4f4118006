// Package null computes nothing. It checks every step, records the tape of calls, and says whether the next step's equals
// it: what a backend that captures graphs relies on, and what a refactoring of the story must not change.
package null

import (
	"fmt"
	"math"
	"slices"

	"github.com/ds4-go/ds4/modules/gguf"
	"github.com/ds4-go/ds4/modules/model/backend"
)

// calls records the arguments of one operation over a step.
type calls[A comparable] struct {
	seen []A
	i    int
}

// Backend implements backend.Backend. Reads give zeros, so that every Top record is empty and every logit 0.
type Backend struct {
	sh  backend.Shape
	lim backend.Limits

	names             []string // of the recorded tape
	at                int
	same              bool
	Captures, Replays int // steps whose tape differed from the one before, and steps whose tape was the same

	bufs, weights int32

	embed     calls[backend.EmbedArgs]
	hcPre     calls[backend.HCPreArgs]
	attnQKV   calls[backend.AttnQKVArgs]
	compress  calls[backend.CompressArgs]
	indexTopK calls[backend.IndexTopKArgs]
	attend    calls[backend.AttendArgs]
	attnOut   calls[backend.AttnOutArgs]
	hcPost    calls[backend.HCPostArgs]
	route     calls[backend.RouteArgs]
	experts   calls[backend.ExpertsArgs]
	shared    calls[backend.SharedExpertArgs]
	hcHead    calls[backend.HCHeadArgs]
	logits    calls[backend.LogitsArgs]
	top       calls[backend.TopArgs]
	draftJoin calls[backend.DraftJoinArgs]
}

// New makes a null backend for a shape.
func New(sh backend.Shape, lim backend.Limits) (*Backend, error) {
	if err := sh.Check(); err != nil {
		return nil, err
	}
	return &Backend{sh: sh, lim: lim}, lim.Check()
}

// record notes a call and compares it with the one that stood there in the step before.
func record[A comparable](b *Backend, c *calls[A], name string, a A) {
	if b.at >= len(b.names) || b.names[b.at] != name || c.i >= len(c.seen) || c.seen[c.i] != a {
		b.same = false
		b.names, c.seen = append(b.names[:b.at], name), append(c.seen[:c.i], a)
	}
	b.at++
	c.i++
}

// Tape is the names of the last step's calls, in order.
func (b *Backend) Tape() []string { return slices.Clone(b.names[:b.at]) }

// Bind checks that the data fit the tensor.
func (b *Backend) Bind(t *gguf.Tensor, data []byte) (backend.Weight, error) {
	if uint64(len(data)) < t.Bytes || len(t.Dims) == 0 || t.Dims[0] > math.MaxInt32 || t.Rows() > math.MaxInt32 {
		return backend.Weight{}, fmt.Errorf("null: %s: want %d bytes, got %d", t.Name, t.Bytes, len(data))
	}
	b.weights++
	return backend.Weight{ID: b.weights, Type: t.Type, Rows: int32(t.Rows()), Cols: int32(t.Dims[0])}, nil
}

// Alloc takes nothing.
func (b *Backend) Alloc(_ string, rows int, parts ...backend.Part) (backend.Buf, error) {
	u := backend.Buf{Rows: int32(rows)}
	for _, p := range parts {
		u.RowBytes += p.Bytes()
	}
	b.bufs++
	u.ID = b.bufs
	return u, nil
}

// Write checks its range.
func (b *Backend) Write(dst backend.Buf, row int, p []byte) {
	if row < 0 || row >= int(dst.Rows) || int64(len(p)) > dst.RowBytes {
		panic(fmt.Sprintf("null: write of %d bytes to row %d of %+v", len(p), row, dst))
	}
}

// Copy checks its ranges.
func (b *Backend) Copy(dst backend.Buf, dstRow int, src backend.Buf, srcRow int) {
	if dst.RowBytes != src.RowBytes || min(dstRow, srcRow) < 0 || dstRow >= int(dst.Rows) || srcRow >= int(src.Rows) {
		panic(fmt.Sprintf("null: copy of row %d of %+v to row %d of %+v", srcRow, src, dstRow, dst))
	}
}

// Read gives zeros.
func (b *Backend) Read(p []byte, src backend.Buf, row int, done func(error)) {
	if int64(row)*src.RowBytes+int64(len(p)) > int64(src.Rows)*src.RowBytes {
		panic(fmt.Sprintf("null: read of %d bytes from row %d of %+v", len(p), row, src))
	}
	clear(p)
	if done != nil {
		done(nil)
	}
}

// Begin checks the step.
func (b *Backend) Begin(s *backend.Step) {
	s.Check(&b.sh, &b.lim)
	b.at, b.same = 0, true
	b.embed.i, b.hcPre.i, b.attnQKV.i, b.compress.i, b.indexTopK.i = 0, 0, 0, 0, 0
	b.attend.i, b.attnOut.i, b.hcPost.i, b.route.i, b.experts.i = 0, 0, 0, 0, 0
	b.shared.i, b.hcHead.i, b.logits.i, b.top.i, b.draftJoin.i = 0, 0, 0, 0, 0
}

// Wait counts the step as a capture or a replay.
func (b *Backend) Wait() error {
	if b.same && b.at == len(b.names) {
		b.Replays++
	} else {
		b.names = b.names[:b.at]
		b.Captures++
	}
	return nil
}

// Memory is empty.
func (b *Backend) Memory() backend.Memory { return backend.Memory{} }

// Close does nothing.
func (b *Backend) Close() error { return nil }

// The operations record their arguments.

func (b *Backend) Embed(a backend.EmbedArgs)         { record(b, &b.embed, "embed", a) }
func (b *Backend) HCPre(a backend.HCPreArgs)         { record(b, &b.hcPre, "hc_pre", a) }
func (b *Backend) AttnQKV(a backend.AttnQKVArgs)     { record(b, &b.attnQKV, "attn_qkv", a) }
func (b *Backend) Compress(a backend.CompressArgs)   { record(b, &b.compress, "compress", a) }
func (b *Backend) IndexTopK(a backend.IndexTopKArgs) { record(b, &b.indexTopK, "index_topk", a) }
func (b *Backend) Attend(a backend.AttendArgs)       { record(b, &b.attend, "attend", a) }
func (b *Backend) AttnOut(a backend.AttnOutArgs)     { record(b, &b.attnOut, "attn_out", a) }
func (b *Backend) HCPost(a backend.HCPostArgs)       { record(b, &b.hcPost, "hc_post", a) }
func (b *Backend) Route(a backend.RouteArgs)         { record(b, &b.route, "route", a) }
func (b *Backend) Experts(a backend.ExpertsArgs)     { record(b, &b.experts, "experts", a) }
func (b *Backend) SharedExpert(a backend.SharedExpertArgs) {
	record(b, &b.shared, "shared_expert", a)
}
func (b *Backend) HCHead(a backend.HCHeadArgs)       { record(b, &b.hcHead, "hc_head", a) }
func (b *Backend) Logits(a backend.LogitsArgs)       { record(b, &b.logits, "logits", a) }
func (b *Backend) Top(a backend.TopArgs)             { record(b, &b.top, "top", a) }
func (b *Backend) DraftJoin(a backend.DraftJoinArgs) { record(b, &b.draftJoin, "draft_join", a) }
