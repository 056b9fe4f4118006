package cuda

import (
	"encoding/binary"
	"runtime"
	"sync"

	"github.com/ds4-go/ds4/modules/model/backend"
	"github.com/ds4-go/ds4/modules/model/backend/cuda/driver"
)

func (b *Backend) buf(u backend.Buf) *buffer { return &b.bufs[u.ID-1] }

func (u *buffer) at(row int) addr { return u.base + addr(u.row*int64(row)) }

// base is a buffer's address, 0 of a zero handle.
func (b *Backend) base(u backend.Buf) addr {
	if u.ID == 0 {
		return 0
	}
	return b.buf(u).base
}

// commit backs a lazy buffer up to and including a row.
func (b *Backend) commit(u *buffer, row int) {
	if u.lazy == nil || u.lazy.Committed >= u.row*int64(row+1) {
		return
	}
	if err := b.d.Commit(u.lazy, u.row*int64(row+1)); err != nil {
		b.op = backend.OpError{Op: "pages", Layer: -1}
		b.fail(err)
	}
}

// Write replaces the start of a row. A table row names pages: they are committed now, before a kernel writes there.
func (b *Backend) Write(dst backend.Buf, row int, p []byte) {
	if len(p) == 0 {
		return
	}
	b.enter()
	defer b.leave()
	b.flush()
	u := b.buf(dst)
	if u.name == tableName {
		top := -1
		for i := 0; i+4 <= len(p); i += 4 {
			top = max(top, int(int32(binary.LittleEndian.Uint32(p[i:]))))
		}
		for i := range b.bufs {
			if v := &b.bufs[i]; v.lazy != nil && top < v.rows {
				b.commit(v, top)
			}
		}
	}
	b.commit(u, row)
	b.made.written(dst.ID)
	if b.err == nil {
		b.check(b.d.ToDevice(u.at(row), p, b.stream)) // pageable: the driver has copied p when it returns
		runtime.KeepAlive(p)
	}
}

// Copy copies one row.
func (b *Backend) Copy(dst backend.Buf, dstRow int, src backend.Buf, srcRow int) {
	b.enter()
	defer b.leave()
	b.flush()
	b.made.written(dst.ID)
	u := b.buf(dst)
	b.commit(u, dstRow)
	b.commit(b.buf(src), srcRow)
	if b.err == nil && u.row > 0 {
		b.check(b.d.Copy(u.at(dstRow), b.buf(src).at(srcRow), u.row, b.stream))
	}
}

func (b *Backend) check(err error) {
	if err != nil {
		b.fail(err)
	}
}

// Read copies rows. Inside a step it makes the operations so far run, one by one.
func (b *Backend) Read(p []byte, src backend.Buf, row int, done func(error)) {
	b.enter()
	defer b.leave()
	b.flush()
	u := b.buf(src)
	if u.row > 0 && len(p) > 0 {
		b.commit(u, row+(len(p)-1)/int(u.row))
	}
	switch {
	case b.err != nil && done != nil:
		go done(b.err)
	case b.err != nil || len(p) == 0 && done == nil:
	case done != nil:
		b.reads.start(b, p, u.at(row), done)
	case len(p) <= smallRead:
		small := b.block[len(b.block)-smallRead:][:len(p)]
		b.check(b.d.ToHost(small, u.at(row), b.stream))
		b.check(b.d.Sync(b.stream))
		copy(p, small)
	default:
		b.check(b.d.ToHost(p, u.at(row), b.stream))
		b.check(b.d.Sync(b.stream))
		runtime.KeepAlive(p)
	}
}

// smallRead is the size up to which reads go through pinned memory.
const smallRead = 64 << 10

// reader copies rows to the host on a stream of its own while steps go on.
type reader struct {
	mu     sync.Mutex // one read at a time: they share the pinned buffer
	all    sync.WaitGroup
	stream driver.Stream
	pinned []byte
}

const readPiece = 4 << 20

func (r *reader) start(b *Backend, p []byte, src addr, done func(error)) {
	ev, err := b.d.NewEvent(false)
	if err == nil {
		err = b.d.Record(ev, b.stream)
	}
	if err == nil && r.stream == 0 {
		r.stream, err = b.d.NewStream()
	}
	if err == nil && r.pinned == nil {
		r.pinned, err = b.d.Pinned(readPiece)
	}
	if err != nil {
		go done(classify(err))
		return
	}
	r.all.Add(1)
	go func() {
		defer r.all.Done()
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := r.copy(b.d, p, src, ev)
		if err != nil {
			err = classify(err)
		}
		done(err)
	}()
}

func (r *reader) copy(d *driver.Driver, p []byte, src addr, ev driver.Event) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := d.Use(); err != nil {
		return err
	}
	defer func() { _ = d.FreeEvent(ev) }()
	if err := d.After(r.stream, ev); err != nil {
		return err
	}
	for at := 0; at < len(p); at += readPiece {
		n := min(readPiece, len(p)-at)
		if err := d.ToHost(r.pinned[:n], src+addr(at), r.stream); err != nil {
			return err
		}
		if err := d.Sync(r.stream); err != nil {
			return err
		}
		copy(p[at:at+n], r.pinned[:n])
	}
	return nil
}

func (r *reader) wait() { r.all.Wait() }

func (r *reader) close(d *driver.Driver) error {
	var err error
	if r.pinned != nil {
		err = d.FreePinned(r.pinned)
	}
	if r.stream != 0 {
		if e := d.FreeStream(r.stream); err == nil {
			err = e
		}
	}
	r.pinned, r.stream = nil, 0
	return err
}
