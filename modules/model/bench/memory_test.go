package bench

import (
	"context"
	"errors"
	"testing"
)

func TestReadSpeed(t *testing.T) {
	buf := make([]byte, 3<<20)
	for _, threads := range []int{0, 1, 3, 7} {
		v, err := readSpeed(context.Background(), buf, threads)
		if err != nil || !(v > 0) {
			t.Errorf("%d threads: want a speed, got %g, %v", threads, v, err)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := readSpeed(ctx, buf, 1); !errors.Is(err, context.Canceled) {
		t.Errorf("want %v, got %v", context.Canceled, err)
	}
}

// BenchmarkRead compares the two ways to read: the faster one is the ceiling.
func BenchmarkRead(b *testing.B) {
	buf := make([]byte, 256<<20)
	for i := range buf {
		buf[i] = 1
	}
	for name, read := range map[string]func([]byte) uint64{"words": readWords, "vectors": readVectors} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(buf)))
			for b.Loop() {
				pass(buf, 2, read)
			}
		})
	}
}
