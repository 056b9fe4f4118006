package gguf

import (
	"encoding/binary"
	"fmt"
	"iter"
	"math"
	"strconv"
	"unicode/utf8"
	"unsafe"
)

// Array is a metadata array that was not decoded: a view into the file, with
// everything that holds for views. Its structure was checked when opening.
type Array struct {
	Elem Kind
	key  string
	len  int
	data []byte // elements, encoded
}

// Array returns the array under key.
func (f *File) Array(key string) (Array, error) {
	kv, ok := f.KV(key)
	if !ok {
		return Array{}, &KeyError{Key: key, Want: "array"}
	}
	return kv.Array()
}

// Array returns the record's value, which must be an array.
func (kv *KV) Array() (Array, error) {
	if kv.Kind != KindArray {
		return Array{}, kv.mismatch("array")
	}
	b, err := kv.Raw()
	if err != nil {
		return Array{}, err
	}
	return Array{Elem: kv.Elem, key: kv.Key, len: kv.Len, data: b[12:]}, nil
}

// Len returns the number of elements.
func (a Array) Len() int { return a.len }

// Raw returns a view of the encoded elements.
func (a Array) Raw() []byte { return a.data }

func (a Array) mismatch(want string) error {
	return &KeyError{Key: a.key, Want: "array of " + want, Got: "array of " + strconv.Itoa(a.len) + " " + a.Elem.String()}
}

// Seq iterates over the elements as T, by the rules of [Get]; strings are
// views, and allocate nothing. Where some elements might not fit a T, all are
// tried before the first is yielded.
func Seq[T Scalar](a Array) (iter.Seq2[int, T], error) {
	var zero T
	if s, ok := any(stringSeq(a)).(iter.Seq2[int, T]); ok {
		if a.Elem != KindString {
			return nil, a.mismatch("string")
		}
		return s, nil
	}
	size := int(a.Elem.fixedBytes())
	if size == 0 {
		return nil, a.mismatch(scalarName[T]())
	}
	if scalarName[T]() != a.Elem.String() {
		for i := range a.len {
			if !decodeInto(&zero, a.Elem, a.data[i*size:]) {
				return nil, &KeyError{Key: a.key, Want: "array of " + scalarName[T](),
					Got: fmt.Sprintf("%s %s at index %d", a.Elem, formatScalar(a.Elem, a.data[i*size:]), i)}
			}
		}
	}
	return func(yield func(int, T) bool) {
		for i := range a.len {
			var v T
			decodeInto(&v, a.Elem, a.data[i*size:])
			if !yield(i, v) {
				return
			}
		}
	}, nil
}

// stringSeq iterates over a string array as views.
func stringSeq(a Array) iter.Seq2[int, string] {
	return func(yield func(int, string) bool) {
		rest := a.data
		for i := range a.len {
			n := binary.LittleEndian.Uint64(rest)
			if !yield(i, viewString(rest[8:8+n])) {
				return
			}
			rest = rest[8+n:]
		}
	}
}

// Slice decodes the array into a new slice, by the rules of [Seq]. Strings are
// copies that share one allocation.
func Slice[T Scalar](a Array) ([]T, error) {
	if a.Elem == KindString {
		a.data = append([]byte(nil), a.data...) // views of a private copy are safe after Close
	}
	seq, err := Seq[T](a)
	if err != nil {
		return nil, err
	}
	out := make([]T, a.len)
	for i, v := range seq {
		out[i] = v
	}
	return out, nil
}

// Values decodes the array under key into a new slice: Slice of File.Array.
func Values[T Scalar](f *File, key string) ([]T, error) {
	a, err := f.Array(key)
	if err != nil {
		return nil, err
	}
	return Slice[T](a)
}

// Strings decodes a string array, as copies. To avoid them see [Seq].
func (f *File) Strings(key string) ([]string, error) { return Values[string](f, key) }

// Float32s decodes an array of floats.
func (f *File) Float32s(key string) ([]float32, error) { return Values[float32](f, key) }

// Int32s decodes an array of integers that fit.
func (f *File) Int32s(key string) ([]int32, error) { return Values[int32](f, key) }

// Uint32s decodes an array of integers that fit.
func (f *File) Uint32s(key string) ([]uint32, error) { return Values[uint32](f, key) }

// Arrays iterates over the inner arrays of an array of arrays.
func (a Array) Arrays() (iter.Seq2[int, Array], error) {
	if a.Elem != KindArray {
		return nil, a.mismatch("array")
	}
	return func(yield func(int, Array) bool) {
		rest := a.data
		for i := range a.len {
			inner := Array{
				Elem: Kind(binary.LittleEndian.Uint32(rest)),
				key:  a.key,
				len:  int(binary.LittleEndian.Uint64(rest[4:])),
			}
			n := encodedBytes(inner.Elem, inner.len, rest[12:])
			inner.data = rest[12 : 12+n : 12+n]
			if !yield(i, inner) {
				return
			}
			rest = rest[12+n:]
		}
	}, nil
}

// encodedBytes measures n elements of kind k at the start of b, which was
// checked when opening.
func encodedBytes(k Kind, n int, b []byte) int {
	if size := int(k.fixedBytes()); size > 0 {
		return n * size
	}
	total := 0
	for range n {
		if k == KindString {
			total += 8 + int(binary.LittleEndian.Uint64(b[total:]))
			continue
		}
		head := b[total:]
		total += 12 + encodedBytes(Kind(binary.LittleEndian.Uint32(head)), int(binary.LittleEndian.Uint64(head[4:])), head[12:])
	}
	return total
}

// CheckUTF8 reports the first string that is not valid UTF-8. Opening does not
// ask, unless told to by [CheckStrings].
func (a Array) CheckUTF8() error {
	if a.Elem != KindString {
		return a.mismatch("string")
	}
	for i, s := range stringSeq(a) {
		if !utf8.ValidString(s) {
			return fmt.Errorf("gguf: key %q: string %d: want valid UTF-8, got %q: %w", a.key, i, clip(s, 40), ClassBadUTF8)
		}
	}
	return nil
}

// StringTable gives random access to a string array.
type StringTable struct {
	data []byte
	ends []uint64 // where string i ends in data
}

// StringTable indexes a string array: 8 bytes per string.
func (a Array) StringTable() (*StringTable, error) {
	if a.Elem != KindString {
		return nil, a.mismatch("string")
	}
	t := &StringTable{data: a.data, ends: make([]uint64, a.len)}
	at := uint64(0)
	for i := range t.ends {
		at += 8 + binary.LittleEndian.Uint64(a.data[at:])
		t.ends[i] = at
	}
	return t, nil
}

// Len returns the number of strings.
func (t *StringTable) Len() int { return len(t.ends) }

// Bytes returns string i as a view. It panics if i is out of range.
func (t *StringTable) Bytes(i int) []byte {
	start := uint64(8)
	if i > 0 {
		start += t.ends[i-1]
	}
	return t.data[start:t.ends[i]:t.ends[i]]
}

// At returns string i as a view. It panics if i is out of range.
func (t *StringTable) At(i int) string { return viewString(t.Bytes(i)) }

func viewString(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// Number is what plain tensor data and numeric arrays consist of.
type Number interface {
	uint8 | int8 | uint16 | int16 | uint32 | int32 | uint64 | int64 | float32 | float64
}

// View reinterprets little-endian bytes as numbers without a copy. It says
// false where that cannot be: b is not aligned for T or not a whole number of
// them, or the machine is big-endian.
func View[T Number](b []byte) ([]T, bool) {
	var v T
	size := unsafe.Sizeof(v)
	if len(b) == 0 {
		return nil, true
	}
	p := unsafe.Pointer(unsafe.SliceData(b))
	if !littleEndianHost || uintptr(len(b))%size != 0 || uintptr(p)%unsafe.Alignof(v) != 0 {
		return nil, false
	}
	return unsafe.Slice((*T)(p), uintptr(len(b))/size), true
}

// Numbers is View where that works, and a decoded copy where it does not.
func Numbers[T Number](b []byte) ([]T, error) {
	var v T
	size := int(unsafe.Sizeof(v))
	if len(b)%size != 0 {
		return nil, fmt.Errorf("gguf: want a multiple of %d bytes, got %d", size, len(b))
	}
	if view, ok := View[T](b); ok {
		return view, nil
	}
	out := make([]T, len(b)/size)
	for i := range out {
		switch p := any(&out[i]).(type) {
		case *uint8:
			*p = b[i]
		case *int8:
			*p = int8(b[i])
		case *uint16:
			*p = binary.LittleEndian.Uint16(b[2*i:])
		case *int16:
			*p = int16(binary.LittleEndian.Uint16(b[2*i:]))
		case *uint32:
			*p = binary.LittleEndian.Uint32(b[4*i:])
		case *int32:
			*p = int32(binary.LittleEndian.Uint32(b[4*i:]))
		case *uint64:
			*p = binary.LittleEndian.Uint64(b[8*i:])
		case *int64:
			*p = int64(binary.LittleEndian.Uint64(b[8*i:]))
		case *float32:
			*p = math.Float32frombits(binary.LittleEndian.Uint32(b[4*i:]))
		case *float64:
			*p = math.Float64frombits(binary.LittleEndian.Uint64(b[8*i:]))
		}
	}
	return out, nil
}

var littleEndianHost = binary.NativeEndian.Uint16([]byte{1, 0}) == 1
