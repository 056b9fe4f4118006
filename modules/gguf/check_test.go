package gguf_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"path/filepath"
	"slices"
	"testing"

	"github.com/ds4-go/ds4/modules/gguf"
)

func warnings(t *testing.T, f *gguf.File) []gguf.Class {
	t.Helper()
	list, err := f.Warnings()
	if err != nil {
		t.Fatal(err)
	}
	classes := []gguf.Class{}
	for _, w := range list {
		classes = append(classes, w.Class)
	}
	return classes
}

func TestWarnings(t *testing.T) {
	dir, _ := corpus(t)
	for name, want := range map[string][]gguf.Class{
		"ok-min.gguf": {}, "ok-empty.gguf": {}, "ok-nopad-tail.gguf": {}, "ok-out-of-order.gguf": {},
		"ok-gap.gguf":      {gguf.ClassGap},
		"ok-trailing.gguf": {gguf.ClassTrailingData},
	} {
		f, err := gguf.Open(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if got := warnings(t, f); !slices.Equal(got, want) {
			t.Errorf("%s: want %v, got %v", name, want, got)
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}
	w := gguf.NewWriter()
	if err := errors.Join(
		w.AddTensor("a", gguf.TypeF32, []uint64{1}, gguf.Bytes(make([]byte, 4))),
		w.AddTensor("b", gguf.TypeF32, []uint64{1}, gguf.Bytes(make([]byte, 4))),
	); err != nil {
		t.Fatal(err)
	}
	data := write(t, w)
	for _, back := range []int{1, 33, 64 + 1} { // padding of b, of a, of the header
		data[len(data)-back] = 7
		f, err := gguf.ParseBytes(data)
		if err != nil {
			t.Fatal(err)
		}
		if got := warnings(t, f); !slices.Equal(got, []gguf.Class{gguf.ClassBadPadding}) {
			t.Errorf("byte %d from the end: want bad padding, got %v", back, got)
		}
		data[len(data)-back] = 0
	}
}

func TestTensorsByOffset(t *testing.T) {
	dir, _ := corpus(t)
	f, err := gguf.Open(filepath.Join(dir, "ok-out-of-order.gguf"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	at := int64(-1)
	names := []string{}
	for ts := range f.TensorsByOffset() {
		if ts.FileOffset() <= at {
			t.Errorf("%s: want an offset beyond %d, got %d", ts.Name, at, ts.FileOffset())
		}
		at = ts.FileOffset()
		names = append(names, ts.Name)
	}
	directory := []string{}
	for ts := range f.Tensors() {
		directory = append(directory, ts.Name)
	}
	slices.Reverse(directory)
	if len(names) != 2 || !slices.Equal(names, directory) {
		t.Errorf("want the directory's order turned round, %v, got %v", directory, names)
	}
	if f.Version() != 3 || f.Alignment() != 32 || f.DataOffset()%32 != 0 || f.Size() < f.DataOffset() || f.HeaderSize() > f.DataOffset() {
		t.Errorf("layout: version %d, alignment %d, header %d, data %d, size %d", f.Version(), f.Alignment(), f.HeaderSize(), f.DataOffset(), f.Size())
	}
}

// TestDeepArrays nests strings three deep, with empty arrays among them.
func TestDeepArrays(t *testing.T) {
	le := binary.LittleEndian
	array := func(elem gguf.Kind, n int, body ...[]byte) []byte {
		b := le.AppendUint32(nil, uint32(elem))
		return append(le.AppendUint64(b, uint64(n)), bytes.Join(body, nil)...)
	}
	str := func(s string) []byte { return append(le.AppendUint64(nil, uint64(len(s))), s...) }
	words := array(gguf.KindString, 2, str("ab"), str(""))
	middle := array(gguf.KindArray, 3, words, array(gguf.KindString, 0), array(gguf.KindUint16, 1, []byte{5, 1}))
	deep := array(gguf.KindArray, 2, middle, array(gguf.KindBool, 2, []byte{1, 0}))

	file := func(value []byte) []byte {
		b := append([]byte("GGUF"), 3, 0, 0, 0)
		b = le.AppendUint64(le.AppendUint64(b, 0), 1)
		b = append(b, str("deep")...)
		return append(le.AppendUint32(b, uint32(gguf.KindArray)), value...)
	}
	f, err := gguf.ParseBytes(file(deep))
	if err != nil {
		t.Fatal(err)
	}
	a, err := f.Array("deep")
	if err != nil {
		t.Fatal(err)
	}
	readArray(t, a)
	outer := collectArrays(t, a)
	inner := collectArrays(t, outer[0])
	if s, err := gguf.Slice[string](inner[0]); err != nil || !slices.Equal(s, []string{"ab", ""}) {
		t.Errorf("strings: got %q, %v", s, err)
	}
	if v, err := gguf.Slice[int64](inner[2]); err != nil || !slices.Equal(v, []int64{261}) {
		t.Errorf("numbers: got %v, %v", v, err)
	}
	if v, err := gguf.Slice[bool](outer[1]); err != nil || !slices.Equal(v, []bool{true, false}) {
		t.Errorf("bools: got %v, %v", v, err)
	}
	// One level more is the last that is legal, two are too many.
	if _, err := gguf.ParseBytes(file(array(gguf.KindArray, 1, deep))); err != nil {
		t.Errorf("four levels: %v", err)
	}
	if _, err := gguf.ParseBytes(file(array(gguf.KindArray, 1, array(gguf.KindArray, 1, deep)))); !errors.Is(err, gguf.ClassArrayNesting) {
		t.Errorf("five levels: want array_nesting, got %v", err)
	}
}

func collectArrays(t *testing.T, a gguf.Array) []gguf.Array {
	t.Helper()
	seq, err := a.Arrays()
	if err != nil {
		t.Fatal(err)
	}
	var list []gguf.Array
	for _, in := range seq {
		list = append(list, in)
	}
	return list
}

func TestStringLimit(t *testing.T) {
	w := gguf.NewWriter()
	if err := w.Add("s", "123456"); err != nil {
		t.Fatal(err)
	}
	if _, err := gguf.ParseBytes(write(t, w), gguf.MaxString(5)); !errors.Is(err, gguf.ClassStringTooLong) {
		t.Errorf("6 bytes, at most 5: want string_too_long, got %v", err)
	}
	f := parsed(t, w, gguf.MaxString(6))
	kv, _ := f.KV("s")
	if kv.Offset() != 24 || kv.Bytes() != 8+6 {
		t.Errorf("want the record at 24 with 14 bytes, got %d with %d", kv.Offset(), kv.Bytes())
	}
}

// TestLyingSize: a source shorter than it says is an error, not a fault.
func TestLyingSize(t *testing.T) {
	w, _ := stack(t)
	data := write(t, w)
	if _, err := gguf.Parse(bytes.NewReader(data), int64(len(data))+100); !errors.Is(err, gguf.ClassTruncated) {
		t.Errorf("size too large: want truncated, got %v", err)
	}
	if _, err := gguf.Parse(bytes.NewReader(data), -1); err == nil {
		t.Error("size -1: want an error")
	}
}
