package kvstore

import (
	"github.com/ds4-go/ds4/modules/model"
	"github.com/ds4-go/ds4/modules/model/backend"
)

// rows is the layout of a page's rows in memory and in files: files hold complete rows alone, and KV rows there lack the zeros
// that keep them aligned in memory.
type rows struct {
	shape model.Shape
	page  int // bytes of a page in memory
	kv    int // bytes of a KV row in memory
	used  int // without padding
}

func newRows(s model.Shape) *rows {
	n := s.HeadDim - s.RopeDim
	return &rows{shape: s, page: int(model.PageBytes(s)), kv: s.KVRowBytes(), used: n + 2*s.RopeDim + n/backend.FP8Block}
}

// bytes is the size in a file of the rows that are complete after n tokens of a page.
func (r *rows) bytes(n int) int {
	total := 0
	r.each(n, func(_, count, _, used int) { total += count * used })
	return total
}

// each calls f for every run of rows: where it begins in the page, how many rows, bytes from row to row in memory, and
// bytes that a file keeps of each.
func (r *rows) each(n int, f func(at, count, stride, used int)) {
	at, s := 0, &r.shape
	for il, ratio := range s.Ratio {
		if ratio == 0 {
			continue
		}
		count := n / ratio
		f(at, count, r.kv, r.used)
		if s.Indexed(il) {
			f(at+s.PageIndexOffset(il), count, backend.IndexRowBytes, backend.IndexRowBytes)
			f(at+s.PageIndexExpOffset(il), count, backend.IndexExpBytes, backend.IndexExpBytes)
		}
		at += s.PagePartBytes(il)
	}
}

// pack appends the rows that are complete after n tokens.
func (r *rows) pack(dst, page []byte, n int) []byte {
	r.each(n, func(at, count, stride, used int) {
		if stride == used {
			dst = append(dst, page[at:at+count*used]...)
			return
		}
		for ; count > 0; count-- {
			dst = append(dst, page[at:at+used]...)
			at += stride
		}
	})
	return dst
}

// unpack is the reverse; src has bytes(n) bytes. What is not in it becomes zero.
func (r *rows) unpack(page, src []byte, n int) {
	clear(page)
	r.each(n, func(at, count, stride, used int) {
		if stride == used {
			src = src[copy(page[at:at+count*used], src):]
			return
		}
		for ; count > 0; count-- {
			src = src[copy(page[at:at+used], src):]
			at += stride
		}
	})
}

// stateBytes is the size of the ring image at n tokens, with a draft head's window.
func (r *rows) stateBytes(n int) int {
	return model.StateBytes(r.shape, n) + model.WindowBytes(r.shape, n)
}

// bare is a state without a draft head's window, of which other programs know nothing.
func (r *rows) bare(state []byte, n int) []byte {
	return state[:min(len(state), model.StateBytes(r.shape, n))]
}
