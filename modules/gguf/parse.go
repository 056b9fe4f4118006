package gguf

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/bits"
	"strconv"
	"strings"
)

// The least bytes a record takes, a little below the truth (14 and 33), to
// refuse absurd counts before anything is allocated for them.
const (
	leastKVBytes     = 13
	leastTensorBytes = 25
	headerBytes      = 24
)

// span is a name's place in the header.
type span struct{ pos, len int64 }

// parse reads the header of s into f: one pass that records positions.
func (f *File) parse(s *scanner) error {
	nTensor, nKV, err := f.parseCounts(s)
	if err != nil {
		return err
	}
	if err := f.parseKVs(s, nKV); err != nil {
		return err
	}
	if err := f.parseTensors(s, nTensor); err != nil {
		return err
	}
	f.headerSize = s.pos
	f.dataOffset = (s.pos + f.alignment - 1) / f.alignment * f.alignment
	s.what, s.record, s.name = "header", -1, nil
	if nTensor > 0 && f.dataOffset > f.size && !s.opt.headerOnly {
		return s.fail(ClassTruncated, s.pos, "tensor data from byte "+utoa(uint64(f.dataOffset)), "end of file at "+utoa(uint64(f.size)))
	}
	if f.alignment > maxAlignment {
		s.what, s.name = "key", []byte(KeyAlignment)
		return s.fail(ClassBadAlignment, f.alignmentAt, "at most "+utoa(maxAlignment), utoa(uint64(f.alignment)))
	}
	f.head = s.buf
	return f.checkLayout(s)
}

func (f *File) parseCounts(s *scanner) (nTensor, nKV int, err error) {
	s.what, s.record = "header", -1
	if err := checkMagic(s); err != nil {
		return 0, 0, err
	}
	version, err := s.u32()
	if err != nil {
		return 0, 0, err
	}
	switch {
	case version == 3 || version == 2 && s.opt.version2:
	case version&0xffff == 0:
		return 0, 0, s.fail(ClassBigEndian, 4, "a little-endian file of version 3", fmt.Sprintf("version field %#08x", version))
	default:
		return 0, 0, s.fail(ClassBadVersion, 4, "version 3", "version "+utoa(uint64(version)))
	}
	f.version = version
	counts := [2]uint64{}
	for i := range counts {
		if counts[i], err = s.u64(); err != nil {
			return 0, 0, err
		}
	}
	rest := uint64(s.remaining())
	if n := counts[0]; n >= maxRecordCount || n*leastTensorBytes > rest {
		return 0, 0, s.fail(ClassCountTooLarge, 8, "a tensor count that fits "+utoa(rest)+" bytes", utoa(n))
	}
	if n := counts[1]; n >= maxRecordCount || n*leastKVBytes > rest {
		return 0, 0, s.fail(ClassCountTooLarge, 16, "a key count that fits "+utoa(rest)+" bytes", utoa(n))
	}
	return int(counts[0]), int(counts[1]), nil
}

// checkMagic recognises the usual wrong files, to say what they are.
func checkMagic(s *scanner) error {
	if err := s.need(min(16, s.size)); err != nil {
		return err
	}
	head := string(s.buf[:min(16, s.size)])
	magic := head[:min(4, len(head))]
	got := strconv.Quote(magic)
	switch {
	case magic == "GGUF":
		s.pos = 4
		return nil
	case len(head) < 4 && strings.HasPrefix("GGUF", head):
		return s.fail(ClassTruncated, 0, "a header of "+utoa(headerBytes)+" bytes", utoa(uint64(len(head)))+" bytes")
	case strings.HasPrefix(head, "version https:/"):
		got += ", a Git LFS pointer: the file itself was not downloaded"
	case strings.HasPrefix(head, "<!") || strings.HasPrefix(strings.ToLower(magic), "<htm"):
		got += ", an HTML page: the download went wrong"
	case magic == "gguf":
		got += ", lower case"
	case magic == "ggml" || magic == "lmgg" || magic == "GGML" || magic == "GGJT" || magic == "tjgg":
		got += ", an older ggml format"
	}
	return s.fail(ClassBadMagic, 0, `the bytes "GGUF"`, got)
}

func (f *File) parseKVs(s *scanner, n int) error {
	// Counts are only known to be plausible, so capacity starts modest.
	f.kvs = make([]KV, 0, min(n, 1024))
	names := make([]span, 0, min(n, 1024))
	f.alignment = DefaultAlignment
	s.what = "key"
	for i := range n {
		s.record, s.name = i, nil
		start := s.pos
		key, err := s.str(maxKeyBytes, ClassStringTooLong)
		if err != nil {
			return err
		}
		if len(key) == 0 {
			return s.fail(ClassBadKey, start, "a key", "an empty string")
		}
		if err := s.checkUTF8(key, start+8); err != nil {
			return err
		}
		s.name = key
		names = append(names, span{start + 8, int64(len(key))})
		kv, err := s.value()
		if err != nil {
			return err
		}
		kv.file, kv.start = f, start
		if string(key) == KeyAlignment {
			if err := f.setAlignment(s, kv); err != nil {
				return err
			}
		}
		f.kvs = append(f.kvs, kv)
	}
	f.keys = make(map[string]int32, len(names))
	arena := nameArena(s.buf, names)
	for i := range f.kvs {
		kv := &f.kvs[i]
		kv.Key, arena = arena[:names[i].len], arena[names[i].len:]
		if first, dup := f.keys[kv.Key]; dup {
			s.record, s.name = i, []byte(kv.Key)
			return s.fail(ClassDuplicateKey, kv.start, "each key once", "the key of record "+utoa(uint64(first))+" again")
		}
		f.keys[kv.Key] = int32(i)
	}
	return nil
}

// value reads the type of a value and walks over it.
func (s *scanner) value() (KV, error) {
	id, err := s.u32()
	if err != nil {
		return KV{}, err
	}
	kv := KV{Kind: Kind(id), pos: s.pos}
	if !kv.Kind.Known() {
		return KV{}, s.fail(ClassBadValueType, s.pos-4, "a value type of 0 to 12", utoa(uint64(id)))
	}
	if err := s.skipValue(kv.Kind, 0); err != nil {
		return KV{}, err
	}
	kv.end = s.pos
	if kv.Kind == KindArray {
		kv.Elem = Kind(binary.LittleEndian.Uint32(s.buf[kv.pos:]))
		kv.Len = int(binary.LittleEndian.Uint64(s.buf[kv.pos+4:]))
	}
	return kv, nil
}

func (f *File) setAlignment(s *scanner, kv KV) error {
	const want = "a u32 power of two"
	if kv.Kind != KindUint32 {
		return s.fail(ClassBadAlignment, kv.pos, want, kv.Kind.String())
	}
	align := binary.LittleEndian.Uint32(s.buf[kv.pos:])
	if bits.OnesCount32(align) != 1 {
		return s.fail(ClassBadAlignment, kv.pos, want, utoa(uint64(align)))
	}
	f.alignment, f.alignmentAt = int64(align), kv.pos
	return nil
}

func (f *File) parseTensors(s *scanner, n int) error {
	f.tensors = make([]Tensor, 0, min(n, 2048))
	names := make([]span, 0, min(n, 2048))
	dims := make([]uint64, 0, 4*min(n, 2048))
	s.what = "tensor"
	for i := range n {
		s.record, s.name = i, nil
		start := s.pos
		name, err := s.str(maxTensorName, ClassBadTensorName)
		if err != nil {
			return err
		}
		if len(name) == 0 {
			return s.fail(ClassBadTensorName, start, "a name", "an empty string")
		}
		if err := s.checkUTF8(name, start+8); err != nil {
			return err
		}
		s.name = name
		names = append(names, span{start + 8, int64(len(name))})
		t := Tensor{file: f, start: start}
		first := len(dims)
		if dims, err = s.dims(dims); err != nil {
			return err
		}
		t.Dims = dims[first:len(dims):len(dims)]
		if err := s.tensorTypeAndOffset(&t, f.alignment); err != nil {
			return err
		}
		f.tensors = append(f.tensors, t)
	}
	f.names = make(map[string]int32, len(names))
	arena := nameArena(s.buf, names)
	for i := range f.tensors {
		t := &f.tensors[i]
		t.Name, arena = arena[:names[i].len], arena[names[i].len:]
		if first, dup := f.names[t.Name]; dup {
			s.record, s.name = i, []byte(t.Name)
			return s.fail(ClassDuplicateTensor, t.start, "each tensor name once", "the name of record "+utoa(uint64(first))+" again")
		}
		f.names[t.Name] = int32(i)
	}
	return nil
}

// dims appends the dimensions of one record. Elements of the whole tensor,
// with empty dimensions counted as one, stay below 2^63, so that no later
// product of dimensions can overflow.
func (s *scanner) dims(dst []uint64) ([]uint64, error) {
	at := s.pos
	n, err := s.u32()
	if err != nil {
		return nil, err
	}
	if n > maxDims || n == 0 && !s.opt.scalars {
		return nil, s.fail(ClassBadDims, at, "1 to 4 dimensions", utoa(uint64(n)))
	}
	product := uint64(1)
	for range n {
		at := s.pos
		d, err := s.u64()
		if err != nil {
			return nil, err
		}
		hi, lo := bits.Mul64(product, max(d, 1))
		if hi != 0 || lo > math.MaxInt64 {
			return nil, s.fail(ClassDimOverflow, at, "fewer than 2^63 elements", "dimension "+utoa(d)+" after "+utoa(product)+" elements")
		}
		product = lo
		dst = append(dst, d)
	}
	return dst, nil
}

func (s *scanner) tensorTypeAndOffset(t *Tensor, align int64) error {
	at := s.pos
	id, err := s.u32()
	if err != nil {
		return err
	}
	t.Type = Type(id)
	info, ok := s.opt.typeInfo(t.Type)
	if !ok {
		return s.fail(ClassBadTensorType, at, "a known tensor type", utoa(uint64(id)))
	}
	t.info = info
	if row := t.rowLen(); row%uint64(info.BlockSize) != 0 {
		return s.fail(ClassRowNotBlock, at, "rows in blocks of "+strconv.Itoa(info.BlockSize)+" elements ("+info.Name+")", utoa(row)+" elements")
	}
	hi, size := bits.Mul64(t.Elements()/uint64(info.BlockSize), uint64(info.BlockBytes))
	if hi != 0 || size > math.MaxInt64 {
		return s.fail(ClassSizeOverflow, at, "fewer than 2^63 bytes", utoa(t.Elements())+" elements of "+info.Name)
	}
	t.Bytes = size
	at = s.pos
	if t.Offset, err = s.u64(); err != nil {
		return err
	}
	if t.Offset%uint64(align) != 0 {
		return s.fail(ClassOffsetMisaligned, at, "an offset in multiples of "+utoa(uint64(align)), utoa(t.Offset))
	}
	return nil
}

// nameArena copies all names into one string, in order: safe after Close, and
// one allocation instead of thousands.
func nameArena(buf []byte, names []span) string {
	total := int64(0)
	for _, n := range names {
		total += n.len
	}
	var b strings.Builder
	b.Grow(int(total))
	for _, n := range names {
		b.Write(buf[n.pos : n.pos+n.len])
	}
	return b.String()
}
