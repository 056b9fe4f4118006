package gguf_test

import (
	"errors"
	"math"
	"slices"
	"testing"

	"github.com/ds4-go/ds4/modules/gguf"
)

// parsed returns the file that w writes, opened.
func parsed(t testing.TB, w *gguf.Writer, opts ...gguf.Option) *gguf.File {
	t.Helper()
	f, err := gguf.ParseBytes(write(t, w), opts...)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// get runs Get and reports the value with the text of the error.
func get[T gguf.Scalar](f *gguf.File, key string) (any, string) {
	v, err := gguf.Get[T](f, key)
	if err != nil {
		return nil, err.Error()
	}
	return v, ""
}

func TestWidening(t *testing.T) {
	w := gguf.NewWriter()
	for key, v := range map[string]any{
		"u8": uint8(200), "i8": int8(-1), "u32": uint32(4_000_000_000), "i32": int32(7), "u64": uint64(math.MaxUint64),
		"i64": int64(math.MinInt64), "odd": uint64(1<<53 + 1), "f32": float32(0.1), "f64": 1e-6, "huge": 1e300,
		"inf": math.Inf(-1), "bool": true, "s": "x", "list": []uint32{1, 2},
	} {
		if err := w.Add(key, v); err != nil {
			t.Fatal(err)
		}
	}
	f := parsed(t, w)
	for _, c := range []struct {
		what string
		want any
		get  func() (any, string)
	}{
		{"u8 as u64", uint64(200), func() (any, string) { return get[uint64](f, "u8") }},
		{"u8 as f32", float32(200), func() (any, string) { return get[float32](f, "u8") }},
		{"u8 as i8", `gguf: key "u8": want i8, got u8 200`, func() (any, string) { return get[int8](f, "u8") }},
		{"i8 as i64", int64(-1), func() (any, string) { return get[int64](f, "i8") }},
		{"i8 as u64", `gguf: key "i8": want u64, got i8 -1`, func() (any, string) { return get[uint64](f, "i8") }},
		{"u32 as i32", `gguf: key "u32": want i32, got u32 4000000000`, func() (any, string) { return get[int32](f, "u32") }},
		{"u32 as f32", float32(4_000_000_000), func() (any, string) { return get[float32](f, "u32") }},
		{"i32 as u8", uint8(7), func() (any, string) { return get[uint8](f, "i32") }},
		{"u64 as i64", `gguf: key "u64": want i64, got u64 18446744073709551615`, func() (any, string) { return get[int64](f, "u64") }},
		{"u64 as f64", `gguf: key "u64": want f64, got u64 18446744073709551615`, func() (any, string) { return get[float64](f, "u64") }},
		{"i64 as f64", float64(math.MinInt64), func() (any, string) { return get[float64](f, "i64") }},
		{"i64 as u64", `gguf: key "i64": want u64, got i64 -9223372036854775808`, func() (any, string) { return get[uint64](f, "i64") }},
		{"2^53+1 as f64", `gguf: key "odd": want f64, got u64 9007199254740993`, func() (any, string) { return get[float64](f, "odd") }},
		{"f32 as f64", float64(float32(0.1)), func() (any, string) { return get[float64](f, "f32") }},
		{"f32 as u32", `gguf: key "f32": want u32, got f32 0.1`, func() (any, string) { return get[uint32](f, "f32") }},
		{"f64 as f32", float32(1e-6), func() (any, string) { return get[float32](f, "f64") }},
		{"1e300 as f32", `gguf: key "huge": want f32, got f64 1e+300`, func() (any, string) { return get[float32](f, "huge") }},
		{"infinity as f32", float32(math.Inf(-1)), func() (any, string) { return get[float32](f, "inf") }},
		{"bool as u32", `gguf: key "bool": want u32, got bool true`, func() (any, string) { return get[uint32](f, "bool") }},
		{"u8 as bool", `gguf: key "u8": want bool, got u8 200`, func() (any, string) { return get[bool](f, "u8") }},
		{"string as u32", `gguf: key "s": want u32, got string`, func() (any, string) { return get[uint32](f, "s") }},
		{"u32 as string", `gguf: key "u32": want string, got u32 4000000000`, func() (any, string) { return get[string](f, "u32") }},
		{"array as u32", `gguf: key "list": want u32, got array of 2 u32`, func() (any, string) { return get[uint32](f, "list") }},
		{"missing", `gguf: key "none": want bool, not found`, func() (any, string) { return get[bool](f, "none") }},
	} {
		got, msg := c.get()
		if s, isError := c.want.(string); isError && msg != s || !isError && got != c.want {
			t.Errorf("%s: want %v, got %v %s", c.what, c.want, got, msg)
		}
	}
	if v, err := gguf.GetOr(f, "none", uint32(5)); v != 5 || err != nil {
		t.Errorf("GetOr of a missing key: got %d, %v", v, err)
	}
	if _, err := gguf.GetOr(f, "s", uint32(5)); err == nil || errors.Is(err, gguf.ErrNotFound) {
		t.Errorf("GetOr of a string: want a type error, got %v", err)
	}
	if _, err := f.Bool("none"); !errors.Is(err, gguf.ErrNotFound) {
		t.Errorf("want ErrNotFound, got %v", err)
	}
}

func TestArrays(t *testing.T) {
	w := gguf.NewWriter()
	err := errors.Join(
		w.Add("i32", []int32{1, 3, 300}),
		w.Add("neg", []int32{1, -1}),
		w.Add("f", []float32{0.5, 2}),
		w.Add("s", []string{"a", "bc", ""}),
		w.Add("b", []bool{true, false}),
		w.Add("one", uint32(1)),
	)
	if err != nil {
		t.Fatal(err)
	}
	f := parsed(t, w)
	if v, err := f.Uint32s("i32"); err != nil || !slices.Equal(v, []uint32{1, 3, 300}) {
		t.Errorf("i32 as u32: got %v, %v", v, err)
	}
	if v, err := gguf.Values[float64](f, "f"); err != nil || !slices.Equal(v, []float64{0.5, 2}) {
		t.Errorf("f32 as f64: got %v, %v", v, err)
	}
	if v, err := gguf.Values[bool](f, "b"); err != nil || !slices.Equal(v, []bool{true, false}) {
		t.Errorf("bools: got %v, %v", v, err)
	}
	for want, get := range map[string]func() error{
		`gguf: key "i32": want array of u8, got i32 300 at index 2`:  func() error { _, err := gguf.Values[uint8](f, "i32"); return err },
		`gguf: key "neg": want array of u32, got i32 -1 at index 1`:  func() error { _, err := f.Uint32s("neg"); return err },
		`gguf: key "s": want array of f32, got array of 3 string`:    func() error { _, err := f.Float32s("s"); return err },
		`gguf: key "f": want array of string, got array of 2 f32`:    func() error { _, err := f.Strings("f"); return err },
		`gguf: key "one": want array, got u32 1`:                     func() error { _, err := f.Array("one"); return err },
		`gguf: key "none": want array, not found`:                    func() error { _, err := f.Int32s("none"); return err },
		`gguf: key "b": want array of i32, got bool true at index 0`: func() error { _, err := f.Int32s("b"); return err },
		`gguf: tensor "x": made by hand, has no data`:                func() error { _, err := (&gguf.Tensor{Name: "x"}).Data(); return err },
	} {
		if err := get(); err == nil || err.Error() != want {
			t.Errorf("want %s\ngot  %v", want, err)
		}
	}
	a, err := f.Array("s")
	if err != nil {
		t.Fatal(err)
	}
	seq, err := gguf.Seq[string](a)
	if err != nil {
		t.Fatal(err)
	}
	for i, s := range seq { // a loop may stop early
		if i == 1 {
			if s != "bc" {
				t.Errorf("string 1: got %q", s)
			}
			break
		}
	}
}

func TestNestedArrays(t *testing.T) {
	dir, _ := corpus(t)
	f, err := gguf.Open(dir + "/ok-nested-array.gguf")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	for kv := range f.KVs() {
		if kv.Kind != gguf.KindArray || kv.Elem != gguf.KindArray {
			continue
		}
		a, err := kv.Array()
		if err != nil {
			t.Fatal(err)
		}
		inner, err := a.Arrays()
		if err != nil {
			t.Fatal(err)
		}
		total := 0
		for _, in := range inner {
			v, err := gguf.Slice[int32](in)
			if err != nil {
				t.Fatal(err)
			}
			total += len(v)
		}
		if total == 0 {
			t.Error("want some elements in the inner arrays")
		}
		return
	}
	t.Error("want an array of arrays")
}

func TestView(t *testing.T) {
	raw := make([]byte, 17)
	raw[4], raw[8] = 1, 2
	for off := range 2 { // one of the two is not aligned, and copied
		v, err := gguf.Numbers[uint16](raw[off : off+16])
		want := []uint16{0, 0, 1, 0, 2, 0, 0, 0}
		if off == 1 {
			want = []uint16{0, 1 << 8, 0, 2 << 8, 0, 0, 0, 0}
		}
		if err != nil || !slices.Equal(v, want) {
			t.Errorf("numbers from byte %d: want %v, got %v, %v", off, want, v, err)
		}
	}
	if _, err := gguf.Numbers[float32](raw); err == nil {
		t.Error("17 bytes: want an error")
	}
	if _, ok := gguf.View[uint64](raw[:12]); ok {
		t.Error("12 bytes: want no view of 8-byte numbers")
	}
	if v, ok := gguf.View[uint16](raw[:0]); !ok || len(v) != 0 {
		t.Error("no bytes: want an empty view")
	}
}

// TestClosed: what a closed file is asked gives an error, not a fault.
func TestClosed(t *testing.T) {
	dir, _ := corpus(t)
	f, err := gguf.Open(dir + "/ok-q8_0.gguf")
	if err != nil {
		t.Fatal(err)
	}
	ts, ok := f.Tensor("q")
	if !ok {
		t.Fatal("want tensor q")
	}
	if err := errors.Join(f.Close(), f.Close()); err != nil {
		t.Fatal(err)
	}
	_, dataErr := ts.Data()
	_, keyErr := f.Architecture()
	_, readErr := f.ReadAt(make([]byte, 1), 0)
	_, sectionErr := ts.Section().Read(make([]byte, 1))
	for what, err := range map[string]error{"Data": dataErr, "Architecture": keyErr, "ReadAt": readErr, "Section": sectionErr} {
		if !errors.Is(err, gguf.ErrClosed) {
			t.Errorf("%s: want ErrClosed, got %v", what, err)
		}
	}
	if ts.Name != "q" {
		t.Errorf("name after Close: got %q", ts.Name)
	}
}
