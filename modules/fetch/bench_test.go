package fetch

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
)

// BenchmarkGet fetches over the loopback interface, hashing included; the
// server's work is in the time. TMPDIR chooses the file system.
func BenchmarkGet(b *testing.B) {
	block := make([]byte, 8<<20+4096)
	r := rand.NewChaCha8([32]byte{1})
	_, _ = r.Read(block)
	h := newHub(b, content{size: 2 << 30, block: block})
	for _, parts := range []int{1, 8} {
		b.Run(fmt.Sprintf("parts=%d", parts), func(b *testing.B) {
			dest := filepath.Join(b.TempDir(), "model.gguf")
			c := &Client{Endpoint: h.front.URL}
			b.SetBytes(h.file.size)
			for b.Loop() {
				if _, err := c.Get(b.Context(), Request{Repo: "owner/name", File: "model.gguf", Dest: dest, Parts: parts}); err != nil {
					b.Fatal(err)
				}
				b.StopTimer()
				if err := os.Remove(dest); err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
			}
		})
	}
}

// BenchmarkSHA256 is the ceiling that one core's hashing sets.
func BenchmarkSHA256(b *testing.B) {
	buf := make([]byte, bufferBytes)
	d := newDigests(0, false)
	b.SetBytes(bufferBytes)
	for b.Loop() {
		d.write(buf)
	}
}
