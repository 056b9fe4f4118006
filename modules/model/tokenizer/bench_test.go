package tokenizer

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// goText reads files of the Go distribution, the one body of English and of code that every machine with this test has.
func goText(b *testing.B, names ...string) string {
	b.Helper()
	var all strings.Builder
	for _, name := range names {
		text, err := os.ReadFile(filepath.Join(runtime.GOROOT(), name)) //nolint:staticcheck // tests run with a toolchain
		if err != nil {
			b.Skipf("no text to encode: %v", err)
		}
		all.Write(text)
	}
	return all.String()
}

func randomBytes(n int) string {
	r := rand.New(rand.NewPCG(1, 2))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return string(b)
}

// BenchmarkEncode: the long ones must not be much slower per byte than the short ones of their kind.
func BenchmarkEncode(b *testing.B) {
	tok := publishedTok[false](b)
	const mb = 1 << 20
	run := func(name, text string) {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			var ids []int32
			for b.Loop() {
				ids = tok.Encode(ids[:0], text)
			}
			b.ReportMetric(float64(len(text))/float64(len(ids)), "bytes/token")
		})
	}
	run("english", goText(b, "src/cmd/go/alldocs.go", "doc/godebug.md", "doc/go_mem.html"))
	run("code", goText(b, "src/net/http/server.go", "src/encoding/json/decode.go", "src/runtime/proc.go"))
	run("chinese", strings.Repeat("大为上个国我以要他时来用们生到作地于出就分对成会可主发年动同工也能下过子说产种面而方后多定行学法所民得经。", 1000))
	run("same/64KB", strings.Repeat("a", mb/16))
	run("same/1MB", strings.Repeat("a", mb))
	run("random/64KB", randomBytes(mb/16))
	run("random/1MB", randomBytes(mb))
	letters := []byte(randomBytes(mb))
	for i := range letters {
		letters[i] = 'a' + letters[i]%26
	}
	run("word/64KB", string(letters[:mb/16]))
	run("word/1MB", string(letters))
}

func BenchmarkEncodeParallel(b *testing.B) {
	tok := publishedTok[false](b)
	text := goText(b, "src/cmd/go/alldocs.go")
	b.SetBytes(int64(len(text)))
	b.RunParallel(func(pb *testing.PB) {
		var ids []int32
		for pb.Next() {
			ids = tok.Encode(ids[:0], text)
		}
	})
}

func BenchmarkDecode(b *testing.B) {
	tok := publishedTok[false](b)
	text := goText(b, "src/cmd/go/alldocs.go")
	ids := tok.Encode(nil, text)
	buf := make([]byte, 0, len(text))
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		buf, _ = tok.Decode(buf[:0], ids)
	}
}

func BenchmarkNew(b *testing.B) {
	v := publishedVocab(b).vocab()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := New(v, Options{}); err != nil {
			b.Fatal(err)
		}
	}
}
