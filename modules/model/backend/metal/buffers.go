package metal

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/ds4-go/ds4/modules/metal"
	"github.com/ds4-go/ds4/modules/model/backend"
)

// ref is a place in a buffer.
type ref struct {
	buf *metal.Buffer
	off int
}

type buffer struct {
	name  string
	rows  int
	row   int
	parts []int // offsets
	mem   []byte
	buf   *metal.Buffer
	pool  *pool // of a growing one
}

// pool is a reservation of addresses, of which a buffer wraps a growing part.
type pool struct {
	mem       []byte
	committed int
}

// Names of buffers that the engine gives, and the size from which the page pool grows by pieces.
const (
	pagesName = "pages"
	tableName = "table"
	lazyBytes = 256 << 20
	poolPiece = 64 << 20
)

// Alloc takes shared memory. The page pool is committed as sequences come to use it.
func (b *Backend) Alloc(name string, rows int, parts ...backend.Part) (backend.Buf, error) {
	u := buffer{name: name, rows: rows}
	for _, p := range parts {
		u.parts = append(u.parts, u.row)
		u.row += int(p.Bytes())
	}
	if rows < 0 || u.row > 0 && rows > math.MaxInt/u.row {
		return backend.Buf{}, fmt.Errorf("metal: %s: %d rows of %d bytes: %w", name, rows, u.row, backend.ErrMemory)
	}
	n := max(u.row*rows, 256)
	var err error
	if name == pagesName && n > lazyBytes && canReserve {
		u.pool = &pool{}
		if u.pool.mem, err = reserve(n); err == nil {
			u.mem = u.pool.mem
			err = b.grow(&u, 0)
		}
	} else if u.buf, err = b.d.NewBuffer(n); err == nil {
		u.mem = u.buf.Bytes()
	}
	if err != nil {
		return backend.Buf{}, fmt.Errorf("metal: %s: %d rows of %d bytes: %w", name, rows, u.row, classify(err))
	}
	b.bufs = append(b.bufs, u)
	return backend.Buf{ID: int32(len(b.bufs)), Rows: int32(rows), RowBytes: int64(u.row)}, nil
}

// grow makes the buffer cover row. The address stays: a longer wrap of the same reservation replaces the one before. Nothing runs.
func (b *Backend) grow(u *buffer, row int) error {
	if u.pool == nil || (row+1)*u.row <= u.pool.committed {
		return nil
	}
	n := min(((row+1)*u.row+poolPiece-1)/poolPiece*poolPiece, len(u.pool.mem))
	buf, err := b.d.Wrap(u.pool.mem[:n])
	if err != nil {
		return err
	}
	if u.buf != nil {
		u.buf.Release()
	}
	u.buf, u.pool.committed = buf, n
	return nil
}

func (u *buffer) bytes() int64 {
	if u.pool != nil {
		return int64(u.pool.committed)
	}
	return int64(u.row) * int64(u.rows)
}

func (u *buffer) free() {
	if u.buf != nil {
		u.buf.Release()
	}
	if u.pool != nil {
		unreserve(u.pool.mem)
	}
}

func (u *buffer) at(row int) []byte { return u.mem[row*u.row : (row+1)*u.row] }

func (b *Backend) buf(u backend.Buf) *buffer { return &b.bufs[u.ID-1] }

// whole is where a buffer lies; the step block stands for one that is absent.
func (b *Backend) whole(u backend.Buf) ref {
	if u.ID == 0 {
		return ref{b.block, 0}
	}
	return ref{b.buf(u).buf, 0}
}

// part is where layer il's part of the first row lies.
func (b *Backend) part(u backend.Buf, il int32) ref {
	d := b.buf(u)
	return ref{d.buf, d.parts[il]}
}

// Write replaces the start of a row. A table row names pages: they are committed now, before a kernel writes there.
func (b *Backend) Write(dst backend.Buf, row int, p []byte) {
	b.flush()
	u := b.buf(dst)
	if u.name == tableName {
		top := -1
		for i := 0; i+4 <= len(p); i += 4 {
			top = max(top, int(int32(binary.LittleEndian.Uint32(p[i:]))))
		}
		for i := range b.bufs {
			if v := &b.bufs[i]; v.pool != nil && top < v.rows {
				b.commit(v, top)
			}
		}
	}
	b.commit(u, row)
	b.made.written(dst.ID)
	if b.err == nil {
		copy(u.at(row), p)
	}
}

func (b *Backend) commit(u *buffer, row int) {
	if err := b.grow(u, row); err != nil {
		b.op = backend.OpError{Op: pagesName, Layer: -1}
		b.fail(err)
	}
}

// Copy copies one row, at once: nothing runs outside a step.
func (b *Backend) Copy(dst backend.Buf, dstRow int, src backend.Buf, srcRow int) {
	b.flush()
	b.made.written(dst.ID)
	b.commit(b.buf(dst), dstRow)
	b.commit(b.buf(src), srcRow)
	if b.err == nil {
		copy(b.buf(dst).at(dstRow), b.buf(src).at(srcRow))
	}
}

// Read copies rows, at once or on a goroutine. Inside a step it makes the operations so far run.
func (b *Backend) Read(p []byte, src backend.Buf, row int, done func(error)) {
	b.flush()
	u := b.buf(src)
	if u.row > 0 && len(p) > 0 {
		b.commit(u, row+(len(p)-1)/u.row)
	}
	switch {
	case done != nil && b.err != nil:
		go done(b.err)
	case done != nil:
		from := u.mem[row*u.row:]
		b.reads.Add(1)
		go func() {
			copy(p, from)
			b.reads.Done()
			done(nil)
		}()
	case b.err == nil:
		copy(p, u.mem[row*u.row:])
	}
}
