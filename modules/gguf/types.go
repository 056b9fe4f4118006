package gguf

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Type is a ggml tensor type id, as stored in a tensor record.
type Type uint32

// The tensor types of the format. Ids 4, 5, 31-33 and 36-38 were removed and
// are refused. Forks reuse ids from 40 up with other meanings: see [WithType].
const (
	TypeF32     Type = 0
	TypeF16     Type = 1
	TypeQ4_0    Type = 2
	TypeQ4_1    Type = 3
	TypeQ5_0    Type = 6
	TypeQ5_1    Type = 7
	TypeQ8_0    Type = 8
	TypeQ8_1    Type = 9
	TypeQ2_K    Type = 10
	TypeQ3_K    Type = 11
	TypeQ4_K    Type = 12
	TypeQ5_K    Type = 13
	TypeQ6_K    Type = 14
	TypeQ8_K    Type = 15
	TypeIQ2_XXS Type = 16
	TypeIQ2_XS  Type = 17
	TypeIQ3_XXS Type = 18
	TypeIQ1_S   Type = 19
	TypeIQ4_NL  Type = 20
	TypeIQ3_S   Type = 21
	TypeIQ2_S   Type = 22
	TypeIQ4_XS  Type = 23
	TypeI8      Type = 24
	TypeI16     Type = 25
	TypeI32     Type = 26
	TypeI64     Type = 27
	TypeF64     Type = 28
	TypeIQ1_M   Type = 29
	TypeBF16    Type = 30
	TypeTQ1_0   Type = 34
	TypeTQ2_0   Type = 35
	TypeMXFP4   Type = 39
	TypeNVFP4   Type = 40
	TypeQ1_0    Type = 41
	TypeQ2_0    Type = 42
)

// TypeInfo describes how a tensor type packs its elements.
type TypeInfo struct {
	Name       string // lower-case ggml name, e.g. "q8_0"
	BlockSize  int    // elements per block; 1 for plain numbers
	BlockBytes int    // bytes per block
}

// typeTable is indexed by id; removed and unassigned ids have no name.
var typeTable = [...]TypeInfo{
	TypeF32:     {"f32", 1, 4},
	TypeF16:     {"f16", 1, 2},
	TypeQ4_0:    {"q4_0", 32, 18},
	TypeQ4_1:    {"q4_1", 32, 20},
	TypeQ5_0:    {"q5_0", 32, 22},
	TypeQ5_1:    {"q5_1", 32, 24},
	TypeQ8_0:    {"q8_0", 32, Q8_0Bytes},
	TypeQ8_1:    {"q8_1", 32, 36},
	TypeQ2_K:    {"q2_k", 256, Q2_KBytes},
	TypeQ3_K:    {"q3_k", 256, 110},
	TypeQ4_K:    {"q4_k", 256, Q4_KBytes},
	TypeQ5_K:    {"q5_k", 256, 176},
	TypeQ6_K:    {"q6_k", 256, 210},
	TypeQ8_K:    {"q8_k", 256, Q8_KBytes},
	TypeIQ2_XXS: {"iq2_xxs", 256, IQ2_XXSBytes},
	TypeIQ2_XS:  {"iq2_xs", 256, 74},
	TypeIQ3_XXS: {"iq3_xxs", 256, 98},
	TypeIQ1_S:   {"iq1_s", 256, 50},
	TypeIQ4_NL:  {"iq4_nl", 32, 18},
	TypeIQ3_S:   {"iq3_s", 256, 110},
	TypeIQ2_S:   {"iq2_s", 256, 82},
	TypeIQ4_XS:  {"iq4_xs", 256, 136},
	TypeI8:      {"i8", 1, 1},
	TypeI16:     {"i16", 1, 2},
	TypeI32:     {"i32", 1, 4},
	TypeI64:     {"i64", 1, 8},
	TypeF64:     {"f64", 1, 8},
	TypeIQ1_M:   {"iq1_m", 256, 56},
	TypeBF16:    {"bf16", 1, 2},
	TypeTQ1_0:   {"tq1_0", 256, 54},
	TypeTQ2_0:   {"tq2_0", 256, 66},
	TypeMXFP4:   {"mxfp4", 32, MXFP4Bytes},
	TypeNVFP4:   {"nvfp4", 64, 36},
	TypeQ1_0:    {"q1_0", 128, 18},
	TypeQ2_0:    {"q2_0", 64, 18},
}

// Info returns the packing of t and whether the type is known.
func (t Type) Info() (TypeInfo, bool) {
	if int64(t) >= int64(len(typeTable)) || typeTable[t].Name == "" {
		return TypeInfo{}, false
	}
	return typeTable[t], true
}

// Known reports whether t is in this package's table of types.
func (t Type) Known() bool {
	_, ok := t.Info()
	return ok
}

// String returns the lower-case ggml name ("q8_0"), or "type(99)".
func (t Type) String() string {
	if info, ok := t.Info(); ok {
		return info.Name
	}
	return "type(" + strconv.FormatUint(uint64(t), 10) + ")"
}

// BlockSize returns the number of elements per block, 0 if t is unknown.
func (t Type) BlockSize() int {
	info, _ := t.Info()
	return info.BlockSize
}

// BlockBytes returns the number of bytes per block, 0 if t is unknown.
func (t Type) BlockBytes() int {
	info, _ := t.Info()
	return info.BlockBytes
}

// Quantized reports whether t packs several elements into a block.
func (t Type) Quantized() bool { return t.BlockSize() > 1 }

// RowBytes returns the bytes of one row of n elements. It is an error if n is
// not a whole number of blocks, or if t is unknown.
func (t Type) RowBytes(n int) (int64, error) {
	info, ok := t.Info()
	if !ok {
		return 0, fmt.Errorf("gguf: %v: %w tensor type", t, ErrUnsupported)
	}
	if n < 0 || n%info.BlockSize != 0 {
		return 0, fmt.Errorf("gguf: %v row: want a multiple of %d elements, got %d", t, info.BlockSize, n)
	}
	blocks := int64(n / info.BlockSize)
	if blocks > math.MaxInt64/int64(info.BlockBytes) {
		return 0, fmt.Errorf("gguf: %v row of %d elements: byte size overflows", t, n)
	}
	return blocks * int64(info.BlockBytes), nil
}

// ParseType returns the type with the given name; case, '-' and '_' do not
// matter ("Q4-K", "q4_k" and "q4k" are the same).
func ParseType(name string) (Type, error) {
	want := foldTypeName(name)
	for id := range typeTable {
		if n := typeTable[id].Name; n != "" && foldTypeName(n) == want {
			return Type(id), nil
		}
	}
	return 0, fmt.Errorf("gguf: unknown tensor type %q", name)
}

func foldTypeName(s string) string {
	return strings.NewReplacer("_", "", "-", "").Replace(strings.ToLower(s))
}

// Kind is the type id of a metadata value.
type Kind uint32

// The metadata value kinds of the format.
const (
	KindUint8   Kind = 0
	KindInt8    Kind = 1
	KindUint16  Kind = 2
	KindInt16   Kind = 3
	KindUint32  Kind = 4
	KindInt32   Kind = 5
	KindFloat32 Kind = 6
	KindBool    Kind = 7
	KindString  Kind = 8
	KindArray   Kind = 9
	KindUint64  Kind = 10
	KindInt64   Kind = 11
	KindFloat64 Kind = 12
)

// kindTable holds the name and the encoded bytes of each kind; 0 bytes: varies.
var kindTable = [...]struct {
	name  string
	bytes int64
}{
	KindUint8: {"u8", 1}, KindInt8: {"i8", 1},
	KindUint16: {"u16", 2}, KindInt16: {"i16", 2},
	KindUint32: {"u32", 4}, KindInt32: {"i32", 4},
	KindFloat32: {"f32", 4}, KindBool: {"bool", 1},
	KindString: {"string", 0}, KindArray: {"array", 0},
	KindUint64: {"u64", 8}, KindInt64: {"i64", 8},
	KindFloat64: {"f64", 8},
}

// Known reports whether k is one of the format's kinds.
func (k Kind) Known() bool { return int64(k) < int64(len(kindTable)) }

// String returns the short name ("u32", "string", "array"), or "kind(13)".
func (k Kind) String() string {
	if k.Known() {
		return kindTable[k].name
	}
	return "kind(" + strconv.FormatUint(uint64(k), 10) + ")"
}

// fixedBytes returns the encoded size of a scalar kind, 0 for strings and arrays.
func (k Kind) fixedBytes() int64 {
	if k.Known() {
		return kindTable[k].bytes
	}
	return 0
}

func (k Kind) isInteger() bool {
	switch k {
	case KindUint8, KindInt8, KindUint16, KindInt16, KindUint32, KindInt32, KindUint64, KindInt64:
		return true
	}
	return false
}
