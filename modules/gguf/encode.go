package gguf

import (
	"encoding/binary"
	"fmt"
	"math"
	"unicode/utf8"
)

// encodeValue returns the kind and the encoded bytes of a metadata value.
func encodeValue(v any) (Kind, []byte, error) {
	if kind, b, err := encodeScalar(nil, v); kind != KindArray {
		return kind, b, err
	}
	switch v := v.(type) {
	case Array:
		b := binary.LittleEndian.AppendUint32(nil, uint32(v.Elem))
		b = binary.LittleEndian.AppendUint64(b, uint64(v.len))
		return KindArray, append(b, v.data...), nil
	case []uint8:
		return encodeArray(KindUint8, v)
	case []int8:
		return encodeArray(KindInt8, v)
	case []uint16:
		return encodeArray(KindUint16, v)
	case []int16:
		return encodeArray(KindInt16, v)
	case []uint32:
		return encodeArray(KindUint32, v)
	case []int32:
		return encodeArray(KindInt32, v)
	case []uint64:
		return encodeArray(KindUint64, v)
	case []int64:
		return encodeArray(KindInt64, v)
	case []float32:
		return encodeArray(KindFloat32, v)
	case []float64:
		return encodeArray(KindFloat64, v)
	case []bool:
		return encodeArray(KindBool, v)
	case []string:
		return encodeArray(KindString, v)
	}
	return 0, nil, fmt.Errorf("want a sized number, bool, string, Array or a slice, got %T", v)
}

// encodeScalar appends one value; the kind is KindArray for anything else.
func encodeScalar(b []byte, v any) (Kind, []byte, error) {
	le := binary.LittleEndian
	switch v := v.(type) {
	case uint8:
		return KindUint8, append(b, v), nil
	case int8:
		return KindInt8, append(b, uint8(v)), nil
	case uint16:
		return KindUint16, le.AppendUint16(b, v), nil
	case int16:
		return KindInt16, le.AppendUint16(b, uint16(v)), nil
	case uint32:
		return KindUint32, le.AppendUint32(b, v), nil
	case int32:
		return KindInt32, le.AppendUint32(b, uint32(v)), nil
	case uint64:
		return KindUint64, le.AppendUint64(b, v), nil
	case int64:
		return KindInt64, le.AppendUint64(b, uint64(v)), nil
	case float32:
		return KindFloat32, le.AppendUint32(b, math.Float32bits(v)), nil
	case float64:
		return KindFloat64, le.AppendUint64(b, math.Float64bits(v)), nil
	case bool:
		if v {
			return KindBool, append(b, 1), nil
		}
		return KindBool, append(b, 0), nil
	case string:
		if !utf8.ValidString(v) {
			return KindString, nil, fmt.Errorf("want valid UTF-8, got %q", clip(v, 80))
		}
		return KindString, appendString(b, v), nil
	}
	return KindArray, nil, nil
}

// encodeArray encodes a slice. Strings in arrays may be any bytes: vocabularies
// hold some that are no UTF-8.
func encodeArray[T Scalar](elem Kind, v []T) (Kind, []byte, error) {
	b := binary.LittleEndian.AppendUint32(nil, uint32(elem))
	b = binary.LittleEndian.AppendUint64(b, uint64(len(v)))
	for i := range v {
		if s, ok := any(v[i]).(string); ok {
			b = appendString(b, s)
			continue
		}
		_, b, _ = encodeScalar(b, v[i]) // only strings can fail
	}
	return KindArray, b, nil
}

func appendString(b []byte, s string) []byte {
	return append(binary.LittleEndian.AppendUint64(b, uint64(len(s))), s...)
}
