package tokenizer

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"
)

func TestEncodeGolden(t *testing.T) {
	for _, ds4 := range []bool{false, true} {
		tok := publishedTok[ds4](t)
		for _, g := range goldens(t) {
			data, template, pieces := g.Exact, g.ExactSpecials, g.Pieces
			if ds4 {
				data, template, pieces = g.DS4, g.DS4Chat, g.DS4Pieces
			}
			if got := tok.Encode(nil, *g.Text); !slices.Equal(got, data) {
				t.Errorf("ds4=%v case %d (%s): Encode(%q): want %v, got %v", ds4, g.ID, g.Cat, *g.Text, data, got)
			}
			if got := tok.Count(*g.Text); got != len(data) {
				t.Errorf("ds4=%v case %d (%s): Count: want %d, got %d", ds4, g.ID, g.Cat, len(data), got)
			}
			if got := tok.EncodeTemplate(nil, *g.Text); !slices.Equal(got, template) {
				t.Errorf("ds4=%v case %d (%s): EncodeTemplate(%q): want %v, got %v", ds4, g.ID, g.Cat, *g.Text, template, got)
			}
			if g.APIPromptCount > 0 && len(template) != g.APIPromptCount {
				t.Errorf("case %d (%s): want the service's %d tokens, got %d", g.ID, g.Name, g.APIPromptCount, len(template))
			}
			if pieces == nil {
				continue
			}
			var got []int
			for p := range tok.Pieces(*g.Text) {
				got = append(got, len(p))
			}
			if !slices.Equal(got, pieces) {
				t.Errorf("ds4=%v case %d (%s): Pieces(%q): want lengths %v, got %v", ds4, g.ID, g.Cat, *g.Text, pieces, got)
			}
		}
	}
}

// Decoding what was encoded gives the text back, byte for byte, also where it is not UTF-8.
func TestRoundTripGolden(t *testing.T) {
	tok := publishedTok[false](t)
	for _, g := range goldens(t) {
		for _, ids := range [][]int32{g.Exact, g.ExactSpecials} {
			got, err := tok.Decode(nil, ids)
			if err != nil || string(got) != *g.Text {
				t.Errorf("case %d (%s): want %q, got %q (%v)", g.ID, g.Cat, *g.Text, got, err)
			}
		}
	}
}

func TestDecodeGolden(t *testing.T) {
	tok := publishedTok[false](t)
	b, err := os.ReadFile(shared(t, "tokenizer/decode.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for lines := bufio.NewScanner(bytes.NewReader(b)); lines.Scan(); n++ {
		var c struct {
			IDs []int32
			Hex string
		}
		if err := json.Unmarshal(lines.Bytes(), &c); err != nil {
			t.Fatal(err)
		}
		want, err := hex.DecodeString(c.Hex)
		if err != nil {
			t.Fatal(err)
		}
		got, err := tok.Decode(nil, c.IDs)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("line %d: want %x, got %x (%v)", n+1, want, got, err)
		}
		d, streamed := tok.NewDecoder(), ""
		for _, id := range c.IDs {
			streamed += d.Add(id)
		}
		if streamed += d.Flush(); streamed != string(want) {
			t.Errorf("line %d: streamed: want %x, got %x", n+1, want, streamed)
		}
	}
	if n != 120 {
		t.Fatalf("want 120 decode cases, got %d", n)
	}
}

// The hashes identify the published table: those of spellings and merges were taken from the published GGUF.
func TestPublishedVocab(t *testing.T) {
	tok := publishedTok[false](t)
	spelling, text := sha256.New(), sha256.New()
	partial := 0
	for id := range int32(tok.Len()) {
		s, x := tok.Spelling(id), tok.Text(id)
		var b []byte
		b = binary.LittleEndian.AppendUint64(b, uint64(id))
		b = binary.LittleEndian.AppendUint64(b, uint64(len(s)))
		spelling.Write(append(b, s...))
		b = binary.LittleEndian.AppendUint32(b[:0], uint32(len(x)))
		text.Write(append(b, x...))
		if strings.ToValidUTF8(x, "") != x {
			partial++
		}
	}
	for _, c := range []struct{ name, want, got string }{
		{"spellings", "c92251fc634ff01cc6767d2e3ce1d368e72b5f02b647983d4410eb0c46693fa3", hex.EncodeToString(spelling.Sum(nil))},
		{"decoded bytes", "c9403804cfc41621b0e57d25a0b1c5059e7da7fc5b10810a2b33cdb9327a494a", hex.EncodeToString(text.Sum(nil))},
	} {
		if c.got != c.want {
			t.Errorf("%s: want %s, got %s", c.name, c.want, c.got)
		}
	}
	if partial != 1470 {
		t.Errorf("want 1470 tokens that are not UTF-8, got %d", partial)
	}
	want := IDs{BOS: 0, EOS: 1, User: 128803, Assistant: 128804, Think: 128821, EndThink: 128822, DSML: 128825}
	if tok.Special() != want {
		t.Errorf("special ids: want %v, got %v", want, tok.Special())
	}
	if id, ok := tok.SpecialID("<｜latest_reminder｜>"); !ok || id != 128828 {
		t.Errorf("<｜latest_reminder｜>: want 128828, got %d, %v", id, ok)
	}
	if id, ok := tok.ID("。\n\n"); !ok || id != 478 {
		t.Errorf("。\\n\\n: want 478, got %d, %v", id, ok)
	}
}
