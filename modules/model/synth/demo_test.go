package synth

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"testing"

	"github.com/ds4-go/ds4/modules/gguf"
	"github.com/ds4-go/ds4/modules/model"
	"github.com/ds4-go/ds4/modules/model/tokenizer"
)

// demoSum pins the bytes of the demo model. When it changes, DemoRevision must too, or cached files go stale unseen.
const demoSum = "3df749bbbd17193af102c306d3132b96d28f788e9e16e9da262cc072ee401859"

func TestDemoBytes(t *testing.T) {
	w, err := Demo()
	if err != nil {
		t.Fatal(err)
	}
	h := sha256.New()
	if _, err := w.WriteTo(h); err != nil {
		t.Fatal(err)
	}
	if got := hex.EncodeToString(h.Sum(nil)); got != demoSum {
		t.Errorf("demo model of revision %d: want sum %s, got %s", DemoRevision, demoSum, got)
	}
}

// TestDemoIsWhole opens the demo model as the programs open any file.
func TestDemoIsWhole(t *testing.T) {
	w, err := Demo()
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if _, err := w.WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	f, err := gguf.ParseBytes(b.Bytes(), gguf.RequireContiguous(), gguf.CheckStrings())
	if err != nil {
		t.Fatal(err)
	}
	if demo, current := IsDemo(f); !demo || !current {
		t.Errorf("IsDemo: want true, true, got %v, %v", demo, current)
	}
	s, err := model.ReadShape(f)
	if err != nil {
		t.Fatal(err)
	}
	if bad := model.CheckFile(f, s); len(bad) > 0 {
		t.Errorf("%d tensors do not fit, first: %v", len(bad), bad[0])
	}
	tok, err := tokenizer.FromGGUF(f, tokenizer.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if tok.Len() != s.Vocab {
		t.Errorf("vocabulary: want %d tokens, got %d", s.Vocab, tok.Len())
	}
	for _, c := range []struct {
		text string
		want int // tokens
	}{{"The river follows the garden", 5}, {" mountain", 1}, {"é\x00", 3}} {
		ids := tok.Encode(nil, c.text)
		if len(ids) != c.want {
			t.Errorf("%q: want %d tokens, got %v", c.text, c.want, ids)
		}
		if back, err := tok.Decode(nil, ids); err != nil || string(back) != c.text {
			t.Errorf("%q: decodes to %q, %v", c.text, back, err)
		}
	}
	if id, ok := tok.SpecialID(tokenizer.EOS); !ok || id != 1 {
		t.Errorf("end token: want id 1, got %d, %v", id, ok)
	}
}
