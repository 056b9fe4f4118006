package gguf

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
)

// Limits on what an importance file may claim.
const (
	maxImportanceName   = 4096
	maxImportanceValues = 1 << 28 // 1 GiB; ds4's largest entry has 2^20
)

// Importance is one entry of an importance file: weights for the columns of
// one matrix, or of the experts of one stack, one after the other.
type Importance struct {
	Name   string
	Values []float32 // already divided by the number of calls
}

// ReadImportance reads a legacy llama.cpp .dat file; see the package's byte
// table. Values are divided by the entry's calls, where there are any.
func ReadImportance(r io.Reader) ([]Importance, error) {
	b := bufio.NewReader(r)
	n, err := readI32(b)
	if err != nil {
		return nil, fmt.Errorf("gguf: importance: number of entries: %w", err)
	}
	if n < 0 {
		return nil, fmt.Errorf("gguf: importance: want 0 or more entries, got %d: %w", n, ErrCorrupt)
	}
	var list []Importance // grows with what is there, not with what is claimed
	for i := range n {
		e, err := readImportance(b)
		if err != nil {
			return nil, fmt.Errorf("gguf: importance entry %d %q: %w", i, clip(e.Name, 80), err)
		}
		list = append(list, e)
	}
	return list, nil
}

func readImportance(b *bufio.Reader) (e Importance, err error) {
	n, err := readI32(b)
	if err != nil {
		return e, err
	}
	if n < 1 || n > maxImportanceName {
		return e, fmt.Errorf("want a name of 1 to %d bytes, got %d: %w", maxImportanceName, n, ErrCorrupt)
	}
	name := make([]byte, n)
	if _, err := io.ReadFull(b, name); err != nil {
		return e, cutShort(err)
	}
	e.Name = string(name)
	calls, err := readI32(b)
	if err != nil {
		return e, err
	}
	count, err := readI32(b)
	if err != nil {
		return e, err
	}
	if count < 1 || count > maxImportanceValues {
		return e, fmt.Errorf("want 1 to %d values, got %d: %w", maxImportanceValues, count, ErrCorrupt)
	}
	e.Values = make([]float32, 0, min(count, 1<<16))
	var word [4]byte
	for i := range count {
		if _, err := io.ReadFull(b, word[:]); err != nil {
			return e, cutShort(err)
		}
		v := math.Float32frombits(binary.LittleEndian.Uint32(word[:]))
		if calls > 0 {
			v /= float32(calls)
		}
		if math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) {
			return e, fmt.Errorf("value %d: want a finite number, got %g: %w", i, v, ErrCorrupt)
		}
		e.Values = append(e.Values, v)
	}
	return e, nil
}

func readI32(r io.Reader) (int32, error) {
	var word [4]byte
	if _, err := io.ReadFull(r, word[:]); err != nil {
		return 0, cutShort(err)
	}
	return int32(binary.LittleEndian.Uint32(word[:])), nil
}

// cutShort calls a file that ends too early corrupt.
func cutShort(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("file is cut short: %w", ErrCorrupt)
	}
	return err
}

// WriteImportance writes entries with one call each, and the optional trailer:
// chunks of text measured and the name of the data set.
func WriteImportance(w io.Writer, list []Importance, chunks int32, dataset string) error {
	if len(list) > math.MaxInt32 || len(dataset) > math.MaxInt32 {
		return fmt.Errorf("gguf: importance: want at most %d entries, got %d", math.MaxInt32, len(list))
	}
	b := bufio.NewWriter(w)
	var buf []byte
	i32 := func(v int) { buf = binary.LittleEndian.AppendUint32(buf, uint32(v)) }
	i32(len(list))
	for _, e := range list {
		if len(e.Name) < 1 || len(e.Name) > maxImportanceName || len(e.Values) < 1 || len(e.Values) > maxImportanceValues {
			return fmt.Errorf("gguf: importance entry %q: want a name of 1 to %d bytes and 1 to %d values, got %d and %d",
				clip(e.Name, 80), maxImportanceName, maxImportanceValues, len(e.Name), len(e.Values))
		}
		i32(len(e.Name))
		buf = append(buf, e.Name...)
		i32(1)
		i32(len(e.Values))
		for _, v := range e.Values {
			buf = binary.LittleEndian.AppendUint32(buf, math.Float32bits(v))
		}
		if _, err := b.Write(buf); err != nil {
			return fmt.Errorf("gguf: write importance: %w", err)
		}
		buf = buf[:0]
	}
	i32(int(chunks))
	i32(len(dataset))
	buf = append(buf, dataset...)
	if _, err := b.Write(buf); err != nil {
		return fmt.Errorf("gguf: write importance: %w", err)
	}
	if err := b.Flush(); err != nil {
		return fmt.Errorf("gguf: write importance: %w", err)
	}
	return nil
}

// FindImportance returns the weights for entry expert of tensor, which has
// columns columns: those of tensor.expert.N or tensor.expert_N, else the
// expert's part of tensor's own.
func FindImportance(list []Importance, tensor string, expert, columns int) ([]float32, bool) {
	for _, name := range []string{
		fmt.Sprintf("%s.expert.%d", tensor, expert),
		fmt.Sprintf("%s.expert_%d", tensor, expert),
	} {
		for _, e := range list {
			if e.Name == name && len(e.Values) == columns {
				return e.Values, true
			}
		}
	}
	for _, e := range list {
		if e.Name == tensor && expert >= 0 && (expert+1)*columns <= len(e.Values) {
			return e.Values[expert*columns : (expert+1)*columns], true
		}
	}
	return nil, false
}
