package tokenizer

import (
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"unicode/utf8"

	"github.com/ds4-go/ds4/modules/gguf"
)

func mustNew(t testing.TB, v Vocab) *Tokenizer {
	t.Helper()
	tok, err := New(v, Options{})
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

func TestFromGGUF(t *testing.T) {
	want := publishedTok[false](t)
	f, err := gguf.ParseBytes(gunzip(t, shared(t, "tokenizer/vocab.gguf.gz")))
	if err != nil {
		t.Fatal(err)
	}
	got, err := FromGGUF(f, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if got.text != want.text || !slices.Equal(got.special, want.special) || got.Len() != want.Len() {
		t.Fatal("the vocabularies of tokenizer.json and vocab.gguf differ")
	}
	for _, g := range goldens(t) {
		if ids := got.EncodeTemplate(nil, *g.Text); !slices.Equal(ids, g.ExactSpecials) {
			t.Errorf("case %d: want %v, got %v", g.ID, g.ExactSpecials, ids)
		}
	}
}

func TestNewErrors(t *testing.T) {
	base := byteVocab("a b")
	with := func(change func(*Vocab)) Vocab {
		v := base
		v.Tokens, v.Types = slices.Clone(v.Tokens), slices.Clone(v.Types)
		change(&v)
		return v
	}
	for want, v := range map[string]Vocab{
		"want 0 token types, got 1":                           {Types: []int32{1}},
		`want a special token "<｜begin▁of▁sentence｜>"`:        {},
		"want a token for each of the 256 bytes":              with(func(v *Vocab) { v.Tokens[len(required)] = "xyz" }),
		`token 6: want the byte-level alphabet, got "｜DSML｜"`: with(func(v *Vocab) { v.Types[6] = 1 }),
		`merge 1: want two parts and a space, got "ab"`:       with(func(v *Vocab) { v.Merges = slices.Values([]string{"a b", "ab"}) }),
		`merge 0: want both parts of "a c"`:                   with(func(v *Vocab) { v.Merges = slices.Values([]string{"a c"}) }),
		`merge 0: want both parts of "a ｜"`:                   with(func(v *Vocab) { v.Merges = slices.Values([]string{"a ｜"}) }),
	} {
		_, err := New(v, Options{})
		if !errors.Is(err, ErrVocab) || !strings.Contains(err.Error(), want) {
			t.Errorf("want an error with %q, got %v", want, err)
		}
	}
	// Without types, what the alphabet cannot spell is special.
	v := base
	v.Types = nil
	if tok := mustNew(t, v); !tok.IsSpecial(tok.Special().DSML) || !tok.IsSpecial(tok.Special().Think) || tok.IsSpecial(100) {
		t.Error("without types: want the named tokens special and no others")
	}
}

// A vocabulary with few bytes works if it says what stands for the others.
func TestUnknownBytes(t *testing.T) {
	v := byteVocab()
	v.Tokens, v.Types = v.Tokens[:len(required)+'c'+1], v.Types[:len(required)+'c'+1]
	if _, err := New(v, Options{}); !errors.Is(err, ErrVocab) {
		t.Errorf("want ErrVocab, got %v", err)
	}
	if _, err := New(v, Options{Unknown: "é"}); !errors.Is(err, ErrVocab) {
		t.Errorf("an unknown substitute: want ErrVocab, got %v", err)
	}
	tok, err := New(v, Options{Unknown: "?"})
	if err != nil {
		t.Fatal(err)
	}
	got, err := tok.Decode(nil, tok.Encode(nil, "abcde"))
	if err != nil || string(got) != "abc??" {
		t.Errorf("want abc??, got %q (%v)", got, err)
	}
}

func TestOutOfRange(t *testing.T) {
	tok := mustNew(t, byteVocab())
	for _, id := range []int32{-1, int32(tok.Len())} {
		if tok.Text(id) != "" || tok.Spelling(id) != "" || tok.IsSpecial(id) {
			t.Errorf("id %d: want nothing, got %q, %q", id, tok.Text(id), tok.Spelling(id))
		}
		if got, err := tok.Decode([]byte("x"), []int32{int32(len(required)) + 'a', id}); err == nil || string(got) != "xa" {
			t.Errorf("id %d: want an error after %q, got %q, %v", id, "xa", got, err)
		}
	}
	if _, ok := tok.ID("ab"); ok {
		t.Error("ab: want no such token")
	}
}

// A builder makes the same tokens of parts as of the whole, and nothing special of data.
func TestBuilder(t *testing.T) {
	tok := mustNew(t, byteVocab("a b", "ab c", "> a"))
	b := tok.NewBuilder(nil)
	b.Template("<｜User｜>")
	if n, ok := b.Boundary(""); !ok || n != 1 {
		t.Errorf("after a special token: want a boundary at 1, got %d, %v", n, ok)
	}
	b.Data("a")
	if _, ok := b.Boundary("bc"); ok {
		t.Error("inside a text: want no boundary")
	}
	b.Template("bc")
	if n, ok := b.Boundary("</think>"); !ok || n != 2 {
		t.Errorf("before a special token: want a boundary at 2, got %d, %v", n, ok)
	}
	b.Template("</think>")
	b.Data("</think>a")
	want := tok.EncodeTemplate(nil, "<｜User｜>abc</think>")
	want = tok.Encode(want, "</think>a")
	if got := b.Tokens(); !slices.Equal(got, want) {
		t.Errorf("want %v, got %v", want, got)
	}
	if tok.IsSpecial(want[len(want)-1]) || len(want) != 3+len("</think>a")-1 {
		t.Errorf("</think> in data: want plain tokens, got %v", want)
	}
}

// Every character comes out whole, however the tokens cut it; what is no text comes out unchanged.
func TestDecoder(t *testing.T) {
	tok := mustNew(t, byteVocab())
	for _, text := range []string{"aé世🚩日本", "\x80\xc3(\xe4\xb8x\xf0\x9f\x98z\xff日", "日\xe6\x9c"} {
		d, out := tok.NewDecoder(), ""
		for _, id := range tok.Encode(nil, text) {
			s := d.Add(id)
			if utf8.ValidString(text) && utf8.RuneCountInString(s) > 1 || utf8.ValidString(text) && !utf8.ValidString(s) {
				t.Errorf("%q: want a whole character or nothing for a byte, got %q", text, s)
			}
			out += s
		}
		if out += d.Flush(); out != text || d.Flush() != "" {
			t.Errorf("want %q, got %q", text, out)
		}
	}
}

func TestWholeChars(t *testing.T) {
	for s, want := range map[string]int{
		"": 0, "a": 1, "é": 2, "a\xc3": 1, "日": 3, "\xe6": 0, "\xe6\x97": 0, "x\xf0\x9f\x9a": 1, "🚩": 4, "\xf0\x9f\x9a\xa9\xf0": 4,
		"\x80\x80\x80\x80": 4, "\xff": 1, "\xc0": 1, "\xe6a": 2,
	} {
		if got := WholeChars(s); got != want {
			t.Errorf("%q: want %d, got %d", s, want, got)
		}
	}
}

// randomVocab makes merges as training does, each from two tokens there already, and then lists some out of order.
func randomVocab(r *rand.Rand) Vocab {
	parts := []string{"a", "b", "c", "Ġ"}
	seen := map[string]bool{}
	var merges []string
	for range 40 {
		x, y := parts[r.IntN(len(parts))], parts[r.IntN(len(parts))]
		if !seen[x+y] && len(x+y) < 20 {
			seen[x+y] = true
			merges = append(merges, x+" "+y)
			parts = append(parts, x+y)
		}
	}
	if r.IntN(2) == 0 {
		r.Shuffle(len(merges), func(i, j int) { merges[i], merges[j] = merges[j], merges[i] })
	}
	return byteVocab(merges...)
}

// slowBPE is the definition: merge the best pair, the leftmost of equals, until there is none.
func slowBPE(tok *Tokenizer, piece string) []int32 {
	var ids []int32
	for i := range len(piece) {
		ids = append(ids, tok.bytes[piece[i]])
	}
	for {
		best, at, joined := noRank, -1, int32(0)
		for i := 0; i+1 < len(ids); i++ {
			if rank, id := tok.merges.find(ids[i], ids[i+1]); rank < best {
				best, at, joined = rank, i, id
			}
		}
		if at < 0 {
			return ids
		}
		ids[at] = joined
		ids = slices.Delete(ids, at+1, at+2)
	}
}

// Short and long pieces, remembered and new, all follow the definition.
func TestBPE(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	scratch := new(state)
	for range 30 {
		tok := mustNew(t, randomVocab(r))
		scratch.cache = [1 << cacheBits]remembered{}
		for range 30 {
			b := make([]byte, 1+r.IntN(200))
			for i := range b {
				b[i] = "abc  "[r.IntN(4)]
			}
			text := string(b)
			var want []int32
			for p := range tok.Pieces(text) {
				want = append(want, slowBPE(tok, p)...)
			}
			for range 2 {
				if got := tok.Encode(nil, text); !slices.Equal(got, want) {
					t.Fatalf("%q: want %v, got %v", text, want, got)
				}
			}
			// As one piece, whatever the splitter says.
			if got, want := tok.bpe(scratch, nil, text), slowBPE(tok, text); !slices.Equal(got, want) {
				t.Fatalf("%q as one piece: want %v, got %v", text, want, got)
			}
		}
	}
}

func TestConcurrentEncode(t *testing.T) {
	tok := publishedTok[false](t)
	all := goldens(t)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for _, g := range all {
				if got := tok.Encode(nil, *g.Text); !slices.Equal(got, g.Exact) {
					t.Errorf("case %d: want %v, got %v", g.ID, g.Exact, got)
				}
			}
		})
	}
	wg.Wait()
}

func TestEncodeDoesNotAllocate(t *testing.T) {
	tok := mustNew(t, byteVocab("a b"))
	dst := make([]int32, 0, 1000)
	text := strings.Repeat("ab, ", 100)
	tok.Encode(dst, text)
	if n := testing.AllocsPerRun(100, func() { tok.Encode(dst, text) }); n >= 1 {
		t.Errorf("want no allocation, got %v", n)
	}
}

// FuzzEncode: pieces make the text, tokens make the text, the definition makes the same tokens, and data never holds a
// special token.
func FuzzEncode(f *testing.F) {
	for _, s := range []string{"", "Hello, world", "  7 中。\n\n", "\xff\xe4\xb8x\x00\x01\x02", "<｜User｜></think>｜DSML｜", "・゠゛\u3097x", "a\u0301\t\tb½Ⅳ"} {
		f.Add(s)
	}
	small := byteVocab("a b", "Ġ Ġ", "Ġ a", "ï ½", "ï½ ľ", "< /")
	toks := []*Tokenizer{mustNew(f, small)}
	ds4, err := New(small, Options{DS4: true})
	if err != nil {
		f.Fatal(err)
	}
	toks = append(toks, ds4)
	f.Fuzz(func(t *testing.T, text string) {
		for _, tok := range toks {
			want := text
			if tok.ds4 {
				want, _, _ = strings.Cut(text, "\x00")
			}
			var pieces strings.Builder
			var slow []int32
			for p := range tok.Pieces(text) {
				if p == "" {
					t.Fatal("empty piece")
				}
				pieces.WriteString(p)
				slow = append(slow, slowBPE(tok, p)...)
			}
			if pieces.String() != want {
				t.Fatalf("want pieces of %q, got %q", want, pieces.String())
			}
			ids := tok.Encode(nil, text)
			if !slices.Equal(ids, slow) {
				t.Fatalf("%q: want %v, got %v", text, slow, ids)
			}
			if slices.ContainsFunc(ids, tok.IsSpecial) {
				t.Fatalf("%q: special token in data: %v", text, ids)
			}
			template := tok.EncodeTemplate(nil, text)
			for _, ids := range [][]int32{ids, template} {
				if got, err := tok.Decode(nil, ids); err != nil || string(got) != want {
					t.Fatalf("want %q back, got %q (%v)", want, got, err)
				}
			}
			d, streamed := tok.NewDecoder(), ""
			for _, id := range template {
				s := d.Add(id)
				if utf8.ValidString(want) && !utf8.ValidString(s) {
					t.Fatalf("%q: half a character in %q", want, s)
				}
				streamed += s
			}
			if streamed += d.Flush(); streamed != want {
				t.Fatalf("want %q, got %q", want, streamed)
			}
		}
	})
}
