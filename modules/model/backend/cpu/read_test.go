package cpu_test

import (
	"testing"

	"github.com/ds4-go/ds4/modules/model/backend"
	"github.com/ds4-go/ds4/modules/model/backend/cpu"
	"github.com/ds4-go/ds4/modules/model/synth"
)

// TestCloseWhileReading: a snapshot may still be read when a server stops; the buffers are there until it has been.
func TestCloseWhileReading(t *testing.T) {
	const rows, rowBytes = 512, 64 << 10
	b, err := cpu.New(synth.T0().Shape, backend.Limits{CtxTokens: 256, Seqs: 1, Slots: 3, Rows: 4, Outs: 1, Tops: 1}, cpu.Options{})
	if err != nil {
		t.Fatal(err)
	}
	buf, err := b.Alloc("state", rows, backend.Part{Type: backend.F32, Rows: 1, Cols: rowBytes / 4})
	if err != nil {
		t.Fatal(err)
	}
	want := make([]byte, rowBytes)
	for i := range want {
		want[i] = byte(i)
	}
	for i := range rows {
		b.Write(buf, i, want)
	}
	got, read := make([]byte, rows*rowBytes), make(chan error, 1)
	b.Read(got, buf, 0, func(err error) { read <- err })
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-read; err != nil {
		t.Fatal(err)
	}
	for i := range got {
		if got[i] != byte(i) {
			t.Fatalf("byte %d: want %d, got %d", i, byte(i), got[i])
		}
	}
}
