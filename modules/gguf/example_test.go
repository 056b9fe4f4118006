package gguf_test

import (
	"bytes"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/ds4-go/ds4/modules/gguf"
)

// tiny writes a small model into a temporary folder.
func tiny() (path string, remove func()) {
	dir, err := os.MkdirTemp("", "gguf")
	if err != nil {
		log.Fatal(err)
	}
	x := make([]float32, 2*64)
	for i := range x {
		x[i] = float32(i) / 64
	}
	q := make([]byte, 4*gguf.Q8_0Bytes)
	w := gguf.NewWriter()
	path = filepath.Join(dir, "tiny.gguf")
	err = errors.Join(
		gguf.Quantize(gguf.TypeQ8_0, q, x, 64, nil),
		w.Add(gguf.KeyArchitecture, "tiny"),
		w.Add("tiny.block_count", uint32(1)),
		w.Add("tokenizer.ggml.tokens", []string{"<s>", "hello", "world"}),
		w.AddTensor("token_embd.weight", gguf.TypeQ8_0, []uint64{64, 2}, gguf.Bytes(q)),
		w.WriteFile(path),
	)
	if err != nil {
		log.Fatal(err)
	}
	return path, func() { _ = os.RemoveAll(dir) }
}

// Open a file, look at everything in it, and decode a row.
func Example() {
	path, remove := tiny()
	defer remove()

	f, err := gguf.Open(path)
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = f.Close() }()

	for kv := range f.KVs() {
		fmt.Println(kv.Key, "=", kv)
	}
	for t := range f.Tensors() {
		fmt.Println(t.Name, t, t.Bytes, "bytes")
	}
	t, _ := f.Tensor("token_embd.weight")
	row, err := t.Row(1)
	if err != nil {
		log.Fatal(err)
	}
	x := make([]float32, 64)
	if err := gguf.Dequantize(t.Type, x, row); err != nil {
		log.Fatal(err)
	}
	fmt.Printf("row 1: %.3f ... %.3f\n", x[0], x[63])
	// Output:
	// general.architecture = "tiny"
	// tiny.block_count = 1
	// tokenizer.ggml.tokens = [3]string
	// token_embd.weight q8_0 (2, 64) 136 bytes
	// row 1: 1.005 ... 1.984
}

// A key is read as the type that the program wants; any integer that fits will
// do, anything else is an error.
func ExampleGet() {
	path, remove := tiny()
	defer remove()
	f, err := gguf.Open(path)
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = f.Close() }()

	blocks, err := gguf.Get[int64](f, "tiny.block_count")
	fmt.Println(blocks, err)
	base, err := gguf.GetOr(f, "tiny.rope.freq_base", float32(10000))
	fmt.Println(base, err)
	_, err = gguf.Get[uint32](f, gguf.KeyArchitecture)
	fmt.Println(err)
	_, err = f.Bool("tiny.absent")
	fmt.Println(err, errors.Is(err, gguf.ErrNotFound))
	// Output:
	// 1 <nil>
	// 10000 <nil>
	// gguf: key "general.architecture": want u32, got string
	// gguf: key "tiny.absent": want bool, not found true
}

// A string array is walked in place: no string is copied.
func ExampleSeq() {
	path, remove := tiny()
	defer remove()
	f, err := gguf.Open(path)
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = f.Close() }()

	tokens, err := f.Array("tokenizer.ggml.tokens")
	if err != nil {
		log.Fatal(err)
	}
	seq, err := gguf.Seq[string](tokens)
	if err != nil {
		log.Fatal(err)
	}
	for id, token := range seq {
		fmt.Println(id, token)
	}
	// Output:
	// 0 <s>
	// 1 hello
	// 2 world
}

// A malformed file gives one line that says where and why.
func ExampleError() {
	w := gguf.NewWriter()
	if err := w.AddTensor("a.weight", gguf.TypeF32, []uint64{8}, gguf.Bytes(make([]byte, 32))); err != nil {
		log.Fatal(err)
	}
	var file bytes.Buffer
	if _, err := w.WriteTo(&file); err != nil {
		log.Fatal(err)
	}
	_, err := gguf.ParseBytes(file.Bytes()[:file.Len()-4])
	fmt.Println(err)
	fmt.Println(errors.Is(err, gguf.ErrCorrupt), errors.Is(err, gguf.ClassTensorOutOfFile))
	// Output:
	// gguf: tensor "a.weight" at byte 24: want data within 92 bytes of file, got bytes 64 to 96 (tensor_out_of_file)
	// true true
}

// Metadata of one file and tensors of another go into a third, without either
// in memory.
func ExampleWriter() {
	path, remove := tiny()
	defer remove()
	f, err := gguf.Open(path)
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = f.Close() }()

	w := gguf.NewWriter()
	for kv := range f.KVs() {
		if err := w.Copy(kv); err != nil {
			log.Fatal(err)
		}
	}
	if err := w.Add("tiny.note", "copied"); err != nil {
		log.Fatal(err)
	}
	for t := range f.Tensors() {
		if err := w.AddTensor(t.Name, t.Type, t.Dims, t.Payload()); err != nil {
			log.Fatal(err)
		}
	}
	var out bytes.Buffer
	n, err := w.WriteTo(&out)
	fmt.Println(n, err)
	// Output:
	// 448 <nil>
}
