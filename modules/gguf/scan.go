package gguf

import (
	"encoding/binary"
	"errors"
	"io"
	"strconv"
	"unicode/utf8"
)

// scanner walks the header with bounds checks. It sees the whole source when
// that is in memory or mapped; otherwise it keeps a prefix that grows on need.
type scanner struct {
	buf  []byte // bytes [0, len(buf)) of the source
	pos  int64
	size int64 // bytes in the source
	src  io.ReaderAt
	opt  *options

	// Where we are, for errors.
	what   string
	record int
	name   []byte // view
}

// firstWindow is what is read at first of a source that is not in memory.
const firstWindow = 1 << 20

func (s *scanner) remaining() int64 { return s.size - s.pos }

func (s *scanner) fail(class Class, at int64, want, got string) error {
	return &Error{Class: class, Offset: at, Record: s.record, What: s.what, Name: string(s.name), Want: want, Got: got}
}

// need makes the next n bytes available in buf, or says that the file is short.
func (s *scanner) need(n int64) error {
	if n > s.remaining() {
		return s.fail(ClassTruncated, s.pos, utoa(uint64(n))+" bytes", "end of file after "+utoa(uint64(s.remaining())))
	}
	if end := s.pos + n; end > int64(len(s.buf)) {
		return s.grow(end)
	}
	return nil
}

// grow reads at least up to end, doubling. It never reads past the source, so
// what it allocates is bounded by bytes that exist, and by MaxHeader.
func (s *scanner) grow(end int64) error {
	if end > s.opt.maxHeader {
		return s.fail(ClassHeaderTooLarge, s.pos, "a header of at most "+utoa(uint64(s.opt.maxHeader))+" bytes", "at least "+utoa(uint64(end)))
	}
	want := min(max(end, 2*int64(len(s.buf)), firstWindow), s.size, s.opt.maxHeader)
	old := int64(len(s.buf))
	buf := make([]byte, want)
	copy(buf, s.buf)
	n, err := s.src.ReadAt(buf[old:], old)
	if int64(n) < want-old {
		if err == nil || errors.Is(err, io.EOF) {
			return s.fail(ClassTruncated, old+int64(n), utoa(uint64(s.size))+" bytes as stated", "end of source")
		}
		return err
	}
	s.buf = buf
	return nil
}

func (s *scanner) u32() (uint32, error) {
	if err := s.need(4); err != nil {
		return 0, err
	}
	v := binary.LittleEndian.Uint32(s.buf[s.pos:])
	s.pos += 4
	return v, nil
}

func (s *scanner) u64() (uint64, error) {
	if err := s.need(8); err != nil {
		return 0, err
	}
	v := binary.LittleEndian.Uint64(s.buf[s.pos:])
	s.pos += 8
	return v, nil
}

// str reads a string of at most limit bytes and returns a view of it.
func (s *scanner) str(limit int64, class Class) ([]byte, error) {
	at := s.pos
	n, err := s.u64()
	if err != nil {
		return nil, err
	}
	if n > uint64(limit) {
		return nil, s.fail(class, at, "at most "+utoa(uint64(limit))+" bytes", "length "+utoa(n))
	}
	if err := s.need(int64(n)); err != nil {
		return nil, err
	}
	b := s.buf[s.pos : s.pos+int64(n)]
	s.pos += int64(n)
	return b, nil
}

func (s *scanner) checkUTF8(b []byte, at int64) error {
	if utf8.Valid(b) {
		return nil
	}
	return s.fail(ClassBadUTF8, at, "valid UTF-8", strconv.Quote(clip(string(b[:min(len(b), 80)]), 40)))
}

// skipValue walks over one value of kind k and checks it on the way.
func (s *scanner) skipValue(k Kind, depth int) error {
	switch k {
	case KindString:
		at := s.pos
		b, err := s.str(s.opt.maxString, ClassStringTooLong)
		if err != nil {
			return err
		}
		return s.checkUTF8(b, at+8)
	case KindArray:
		return s.skipArray(depth)
	case KindBool:
		return s.skipBools(1)
	}
	n := k.fixedBytes()
	if n == 0 {
		return s.fail(ClassBadValueType, s.pos-4, "a value type of 0 to 12", utoa(uint64(k)))
	}
	if err := s.need(n); err != nil {
		return err
	}
	s.pos += n
	return nil
}

func (s *scanner) skipBools(n int64) error {
	if err := s.need(n); err != nil {
		return err
	}
	for i, b := range s.buf[s.pos : s.pos+n] {
		if b > 1 {
			return s.fail(ClassBadBool, s.pos+int64(i), "a bool of 0 or 1", utoa(uint64(b)))
		}
	}
	s.pos += n
	return nil
}

// skipArray walks over an array. Contents stay where they are: only positions
// of strings and inner arrays must be followed to find the end.
func (s *scanner) skipArray(depth int) error {
	at := s.pos
	if depth >= maxArrayDepth {
		return s.fail(ClassArrayNesting, at, "at most "+utoa(maxArrayDepth)+" levels of arrays", "more")
	}
	id, err := s.u32()
	if err != nil {
		return err
	}
	elem := Kind(id)
	if !elem.Known() {
		return s.fail(ClassBadValueType, at, "an element type of 0 to 12", utoa(uint64(id)))
	}
	count, err := s.u64()
	if err != nil {
		return err
	}
	// The least an element takes: a string is its length, an array its header.
	least := uint64(elem.fixedBytes())
	switch elem {
	case KindString:
		least = 8
	case KindArray:
		least = 12
	}
	if count > (1<<63-1)/least || least >= 8 && elem.fixedBytes() == 0 && count*least > uint64(s.remaining()) {
		return s.fail(ClassArrayTooLarge, at+4, "an array within "+utoa(uint64(s.remaining()))+" bytes", utoa(count)+" elements of "+elem.String())
	}
	switch elem {
	case KindString:
		return s.skipStrings(int64(count))
	case KindArray:
		for range count {
			if err := s.skipArray(depth + 1); err != nil {
				return err
			}
		}
		return nil
	case KindBool:
		return s.skipBools(int64(count))
	}
	n := int64(count * least)
	if err := s.need(n); err != nil {
		return err
	}
	s.pos += n
	return nil
}

// skipStrings is the hot loop of opening a file: a vocabulary has 257,000.
func (s *scanner) skipStrings(count int64) error {
	for range count {
		if err := s.need(8); err != nil {
			return err
		}
		n := binary.LittleEndian.Uint64(s.buf[s.pos:])
		if n > uint64(s.size-s.pos-8) {
			return s.fail(ClassTruncated, s.pos, "a string of "+utoa(n)+" bytes", "end of file after "+utoa(uint64(s.size-s.pos-8)))
		}
		if s.opt.checkStrings {
			at := s.pos
			b, err := s.str(s.opt.maxString, ClassStringTooLong)
			if err != nil {
				return err
			}
			if err := s.checkUTF8(b, at+8); err != nil {
				return err
			}
			continue
		}
		s.pos += 8 + int64(n)
		if s.pos > int64(len(s.buf)) {
			if err := s.need(0); err != nil {
				return err
			}
		}
	}
	return nil
}

func utoa(v uint64) string { return strconv.FormatUint(v, 10) }
