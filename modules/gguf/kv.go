package gguf

import (
	"encoding/binary"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// KV is one metadata record. The value stays in the file until asked for.
type KV struct {
	Key  string
	Kind Kind
	Elem Kind // of the elements, when Kind is KindArray
	Len  int  // elements, when Kind is KindArray

	file     *File
	start    int64 // where the record begins
	pos, end int64 // where the value lies
}

// Scalar is what a metadata value may be read as.
type Scalar interface {
	uint8 | int8 | uint16 | int16 | uint32 | int32 | uint64 | int64 | float32 | float64 | bool | string
}

// Get reads a single value as a T. Integers of any kind convert if the value
// fits, and to floats if exactly; a float64 rounds to a float32. Nothing else
// converts: a value of another kind is a [*KeyError], never a silent zero.
func Get[T Scalar](f *File, key string) (T, error) {
	var zero T
	kv, ok := f.KV(key)
	if !ok {
		return zero, &KeyError{Key: key, Want: scalarName[T]()}
	}
	return Value[T](kv)
}

// GetOr is Get with a default for a key that the file does not have.
func GetOr[T Scalar](f *File, key string, missing T) (T, error) {
	if _, ok := f.KV(key); !ok {
		return missing, nil
	}
	return Get[T](f, key)
}

// Value reads the value of a record as a T, as [Get] does.
func Value[T Scalar](kv *KV) (T, error) {
	var v T
	if kv.Kind == KindArray {
		return v, kv.mismatch(scalarName[T]())
	}
	b, err := kv.Raw()
	if err != nil {
		return v, err
	}
	if p, ok := any(&v).(*string); ok {
		if kv.Kind != KindString {
			return v, kv.mismatch("string")
		}
		*p = string(b[8:])
		return v, nil
	}
	if kv.Kind == KindString || !decodeInto(&v, kv.Kind, b) {
		return v, kv.mismatch(scalarName[T]())
	}
	return v, nil
}

// mismatch describes what the record holds instead.
func (kv *KV) mismatch(want string) error {
	got := kv.Kind.String()
	if kv.Kind == KindArray {
		got = fmt.Sprintf("array of %d %s", kv.Len, kv.Elem)
	} else if kv.Kind != KindString {
		got += " " + kv.String()
	}
	return &KeyError{Key: kv.Key, Want: want, Got: got}
}

// Raw returns a view of the encoded value, without key and kind.
func (kv *KV) Raw() ([]byte, error) {
	if kv.file.closed.Load() {
		return nil, fmt.Errorf("gguf: key %q: %w", kv.Key, ErrClosed)
	}
	return kv.file.head[kv.pos:kv.end:kv.end], nil
}

// Offset returns where the record starts, in bytes from the start of the file.
func (kv *KV) Offset() int64 { return kv.start }

// Bytes returns the size of the encoded value in bytes.
func (kv *KV) Bytes() int64 { return kv.end - kv.pos }

// String returns the value for people to read; strings are quoted and cut
// short, arrays only counted ("[129280]string").
func (kv *KV) String() string {
	b, err := kv.Raw()
	if err != nil {
		return err.Error()
	}
	switch kv.Kind {
	case KindArray:
		return "[" + strconv.Itoa(kv.Len) + "]" + kv.Elem.String()
	case KindString:
		return strconv.Quote(clip(strings.ToValidUTF8(string(b[8:min(len(b), 128)]), "\ufffd"), 100))
	}
	return formatScalar(kv.Kind, b)
}

func formatScalar(k Kind, b []byte) string {
	n := decodeNumber(k, b)
	switch {
	case k == KindBool:
		return strconv.FormatBool(n.u != 0)
	case k == KindFloat32:
		return strconv.FormatFloat(n.f, 'g', -1, 32)
	case k == KindFloat64:
		return strconv.FormatFloat(n.f, 'g', -1, 64)
	case n.signed:
		return strconv.FormatInt(n.i, 10)
	}
	return strconv.FormatUint(n.u, 10)
}

// number is a decoded scalar: u, i or f holds it, by its kind.
type number struct {
	u      uint64
	i      int64
	f      float64
	signed bool
}

// decodeNumber decodes a scalar; b has at least the bytes of its kind.
func decodeNumber(k Kind, b []byte) number {
	le := binary.LittleEndian
	switch k {
	case KindUint8, KindBool:
		return number{u: uint64(b[0])}
	case KindInt8:
		return number{i: int64(int8(b[0])), signed: true}
	case KindUint16:
		return number{u: uint64(le.Uint16(b))}
	case KindInt16:
		return number{i: int64(int16(le.Uint16(b))), signed: true}
	case KindUint32:
		return number{u: uint64(le.Uint32(b))}
	case KindInt32:
		return number{i: int64(int32(le.Uint32(b))), signed: true}
	case KindUint64:
		return number{u: le.Uint64(b)}
	case KindInt64:
		return number{i: int64(le.Uint64(b)), signed: true}
	case KindFloat32:
		return number{f: float64(math.Float32frombits(le.Uint32(b)))}
	case KindFloat64:
		return number{f: math.Float64frombits(le.Uint64(b))}
	}
	return number{}
}

// decodeInto stores a scalar of kind k in v, if v's type can hold it.
func decodeInto[T Scalar](v *T, k Kind, b []byte) bool {
	switch p := any(v).(type) {
	case *bool:
		*p = b[0] != 0
		return k == KindBool
	case *float32:
		return decodeFloat32(p, k, b)
	case *float64:
		return decodeFloat64(p, k, b)
	case *uint8:
		return decodeInt(p, k, b)
	case *int8:
		return decodeInt(p, k, b)
	case *uint16:
		return decodeInt(p, k, b)
	case *int16:
		return decodeInt(p, k, b)
	case *uint32:
		return decodeInt(p, k, b)
	case *int32:
		return decodeInt(p, k, b)
	case *uint64:
		return decodeInt(p, k, b)
	case *int64:
		return decodeInt(p, k, b)
	}
	return false
}

func decodeInt[T uint8 | int8 | uint16 | int16 | uint32 | int32 | uint64 | int64](v *T, k Kind, b []byte) bool {
	if !k.isInteger() {
		return false
	}
	n := decodeNumber(k, b)
	if n.signed {
		*v = T(n.i)
		return int64(*v) == n.i && (*v < 0) == (n.i < 0)
	}
	*v = T(n.u)
	return uint64(*v) == n.u && *v >= 0
}

func decodeFloat64(v *float64, k Kind, b []byte) bool {
	n := decodeNumber(k, b)
	switch {
	case k == KindFloat32 || k == KindFloat64:
		*v = n.f
		return true
	case !k.isInteger():
		return false
	case n.signed:
		*v = float64(n.i)
		return *v < 1<<63 && int64(*v) == n.i
	}
	*v = float64(n.u)
	return *v < 1<<64 && uint64(*v) == n.u
}

func decodeFloat32(v *float32, k Kind, b []byte) bool {
	var wide float64
	if !decodeFloat64(&wide, k, b) {
		return false
	}
	*v = float32(wide)
	if k.isInteger() {
		return float64(*v) == wide
	}
	return !math.IsInf(float64(*v), 0) || math.IsInf(wide, 0)
}

// scalarName names T as kinds are named.
func scalarName[T Scalar]() string {
	var v T
	switch any(v).(type) {
	case uint8:
		return "u8"
	case int8:
		return "i8"
	case uint16:
		return "u16"
	case int16:
		return "i16"
	case uint32:
		return "u32"
	case int32:
		return "i32"
	case uint64:
		return "u64"
	case int64:
		return "i64"
	case float32:
		return "f32"
	case float64:
		return "f64"
	case bool:
		return "bool"
	}
	return "string"
}

// Uint32 reads any integer that fits. See [Get].
func (f *File) Uint32(key string) (uint32, error) { return Get[uint32](f, key) }

// Uint64 reads any integer that fits. See [Get].
func (f *File) Uint64(key string) (uint64, error) { return Get[uint64](f, key) }

// Int32 reads any integer that fits. See [Get].
func (f *File) Int32(key string) (int32, error) { return Get[int32](f, key) }

// Int64 reads any integer that fits. See [Get].
func (f *File) Int64(key string) (int64, error) { return Get[int64](f, key) }

// Float32 reads a float, or an integer that a float32 holds exactly. See [Get].
func (f *File) Float32(key string) (float32, error) { return Get[float32](f, key) }

// Float64 reads a float, or an integer that a float64 holds exactly. See [Get].
func (f *File) Float64(key string) (float64, error) { return Get[float64](f, key) }

// Bool reads a bool. See [Get].
func (f *File) Bool(key string) (bool, error) { return Get[bool](f, key) }

// String reads a string, as a copy. See [Get].
func (f *File) String(key string) (string, error) { return Get[string](f, key) }

// Architecture reads the name of the model family, such as "deepseek4".
func (f *File) Architecture() (string, error) { return f.String(KeyArchitecture) }
