package bench

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"runtime"
	"runtime/debug"
	"sync"
	"time"
)

// Sizes of the reading test. The buffer is far larger than any cache that cores share.
const (
	readBuffer = 1 << 30
	readPiece  = 4 << 20
	readPasses = 3
)

// ReadSpeed measures how fast threads together read memory, in bytes per second: the best of a few passes over a buffer
// of readBuffer bytes, by the faster of two ways to read. It takes about a second.
func ReadSpeed(ctx context.Context, threads int) (float64, error) {
	defer debug.FreeOSMemory() // the buffer goes back at once: what is timed next may need the room for weights
	return readSpeed(ctx, make([]byte, readBuffer), threads)
}

func readSpeed(ctx context.Context, buf []byte, threads int) (float64, error) {
	if threads < 1 {
		threads = runtime.GOMAXPROCS(0)
	}
	for i := 0; i < len(buf); i += 4096 {
		buf[i] = 1 // a page that was never written is the one zero page, and comes from the cache
	}
	best := 0.0
	for range readPasses {
		for _, read := range []func([]byte) uint64{readWords, readVectors} {
			if err := ctx.Err(); err != nil {
				return 0, fmt.Errorf("bench: reading speed: %w", err)
			}
			best = max(best, pass(buf, threads, read))
		}
	}
	return best, nil
}

// pass reads the buffer once on all threads, each its own stretch, and returns bytes per second.
func pass(buf []byte, threads int, read func([]byte) uint64) float64 {
	var wait sync.WaitGroup
	sums := make([]uint64, threads)
	begin := time.Now()
	for i := range threads {
		part := buf[len(buf)/threads*i : len(buf)/threads*(i+1)]
		wait.Go(func() {
			for len(part) > 0 {
				n := min(readPiece, len(part))
				sums[i] += read(part[:n])
				part = part[n:]
			}
		})
	}
	wait.Wait()
	sec := time.Since(begin).Seconds()
	runtime.KeepAlive(sums)
	return float64(len(buf)/threads*threads) / sec
}

// readWords reads 64 bytes a turn, in words that do not wait for each other.
func readWords(p []byte) uint64 {
	var a, b, c, d uint64
	for ; len(p) >= 64; p = p[64:] {
		q := p[:64:64]
		a += binary.LittleEndian.Uint64(q) ^ binary.LittleEndian.Uint64(q[32:])
		b += binary.LittleEndian.Uint64(q[8:]) ^ binary.LittleEndian.Uint64(q[40:])
		c += binary.LittleEndian.Uint64(q[16:]) ^ binary.LittleEndian.Uint64(q[48:])
		d += binary.LittleEndian.Uint64(q[24:]) ^ binary.LittleEndian.Uint64(q[56:])
	}
	return a + b + c + d
}

// readVectors looks for a byte that is not there: the standard library does it with the machine's vectors.
func readVectors(p []byte) uint64 { return uint64(bytes.IndexByte(p, 0xff)) }
