package cuda

import (
	"runtime"
	"sync"

	"github.com/ds4-go/ds4/modules/model/backend/cuda/driver"
)

// loader brings tensors from the file's map to the card: goroutines copy pieces into a ring of pinned memory (which is what
// reads the file), the owner queues the copy to the card and the kernel that repacks. It works on while Bind is called for
// further tensors, and is emptied before the first step.
type loader struct {
	stream driver.Stream
	slots  []slot
	next   int // slot that the next piece takes
	head   int // oldest slot whose copy is not queued
	queued int // slots between head and next
	work   chan *slot
	done   sync.WaitGroup
}

// slot is one piece in flight.
type slot struct {
	pinned []byte
	device addr // staging on the card, for pieces that are repacked
	free   driver.Event
	used   bool // an upload was queued, and free recorded
	src    []byte
	dst    addr
	repack repackArgs
	ready  chan struct{}
}

const pieceBytes = 8 << 20

func newLoader(d *driver.Driver, workers int) (*loader, error) {
	if workers <= 0 {
		workers = min(runtime.NumCPU(), 14)
	}
	l := &loader{work: make(chan *slot, 2*workers), slots: make([]slot, 2*workers)}
	var err error
	if l.stream, err = d.NewStream(); err != nil {
		return l, err
	}
	for i := range l.slots {
		s := &l.slots[i]
		s.ready = make(chan struct{}, 1)
		if s.pinned, err = d.Pinned(pieceBytes); err != nil {
			return l, err
		}
		if s.device, err = d.Alloc(pieceBytes); err != nil {
			return l, err
		}
		if s.free, err = d.NewEvent(false); err != nil {
			return l, err
		}
	}
	for range workers {
		l.done.Add(1)
		go func() {
			defer l.done.Done()
			for s := range l.work {
				copy(s.pinned, s.src)
				s.ready <- struct{}{}
			}
		}()
	}
	return l, nil
}

func (l *loader) bytes() int64 { return int64(len(l.slots)) * pieceBytes }

// tensor hands all pieces of a tensor to the workers. data must stay until the loader is emptied.
func (l *loader) tensor(b *Backend, w *weight, data []byte, rowBytes int64) error {
	n := tileBytes(w.typ)
	if n == 0 {
		for at := 0; at < len(data); at += pieceBytes {
			if err := l.piece(b, data[at:min(len(data), at+pieceBytes)], w.base+addr(at), repackArgs{}); err != nil {
				return err
			}
		}
		return nil
	}
	runs := int64(w.cols+255) / 256
	step := max(pieceBytes/rowBytes/16*16, 16)
	for r := int64(0); r < int64(w.rows); r += step {
		rows := min(step, int64(w.rows)-r)
		err := l.piece(b, data[r*rowBytes:(r+rows)*rowBytes], w.base+addr(r/16*runs*n),
			repackArgs{typ: int32(w.typ), rows: int32(rows), k: int32(w.cols), runs: int32(runs)})
		if err != nil {
			return err
		}
	}
	return nil
}

func (l *loader) piece(b *Backend, src []byte, dst addr, r repackArgs) error {
	if l.queued == len(l.slots) {
		if err := l.upload(b); err != nil {
			return err
		}
	}
	s := &l.slots[l.next]
	if s.used {
		if err := b.d.WaitEvent(s.free); err != nil {
			return err
		}
	}
	s.src, s.dst, s.repack = src, dst, r
	l.next = (l.next + 1) % len(l.slots)
	l.queued++
	l.work <- s
	for l.queued > 0 { // whatever is ready goes on its way
		select {
		case <-l.slots[l.head].ready:
			if err := l.send(b); err != nil {
				return err
			}
		default:
			return nil
		}
	}
	return nil
}

// upload waits for the oldest piece and queues it.
func (l *loader) upload(b *Backend) error {
	<-l.slots[l.head].ready
	return l.send(b)
}

func (l *loader) send(b *Backend) error {
	s := &l.slots[l.head]
	l.head = (l.head + 1) % len(l.slots)
	l.queued--
	to := s.dst
	if s.repack.runs > 0 {
		to = s.device
	}
	if err := b.d.ToDevice(to, s.pinned[:len(s.src)], l.stream); err != nil {
		return err
	}
	if r := s.repack; r.runs > 0 {
		r.src, r.dst = s.device, s.dst
		tiles := (int(r.rows) + 15) / 16 * int(r.runs)
		main, dependent := b.stream, b.dependent
		b.stream, b.dependent = l.stream, false
		launch(b, kRepack, (tiles+7)/8, 1, 1, 256, 0, r)
		b.stream, b.dependent = main, dependent
		if b.err != nil {
			return b.err
		}
	}
	s.used = true
	return b.d.Record(s.free, l.stream)
}

// empty waits until every piece is on the card.
func (l *loader) empty(b *Backend) error {
	for l.queued > 0 {
		if err := l.upload(b); err != nil {
			return err
		}
	}
	return b.d.Sync(l.stream)
}

// close ends the workers and gives the ring back. Pieces that were not sent are dropped.
func (l *loader) close(b *Backend) error {
	for ; l.queued > 0; l.queued-- {
		<-l.slots[l.head].ready
		l.head = (l.head + 1) % len(l.slots)
	}
	close(l.work)
	l.done.Wait()
	var first error
	keep := func(err error) {
		if first == nil {
			first = err
		}
	}
	if l.stream != 0 {
		keep(b.d.Sync(l.stream))
		keep(b.d.FreeStream(l.stream))
	}
	for i := range l.slots {
		s := &l.slots[i]
		if s.pinned != nil {
			keep(b.d.FreePinned(s.pinned))
		}
		if s.device != 0 {
			keep(b.d.Free(s.device))
		}
		if s.free != 0 {
			keep(b.d.FreeEvent(s.free))
		}
	}
	return first
}
