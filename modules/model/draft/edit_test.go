package draft_test

import (
	"compress/gzip"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ds4-go/ds4/modules/gguf"
	"github.com/ds4-go/ds4/modules/model/draft"
	"github.com/ds4-go/ds4/modules/model/tokenizer"
)

// published is the tokenizer of the published files, from the folder of golden data.
func published(t *testing.T) *tokenizer.Tokenizer {
	t.Helper()
	root := os.Getenv("DS4_SHARED")
	for dir := "."; root == ""; dir = filepath.Join(dir, "..") {
		abs, err := filepath.Abs(dir)
		if err != nil || abs == filepath.Dir(abs) {
			t.Skip("golden data not found: no go.work above this package")
		}
		if _, err := os.Stat(filepath.Join(dir, "go.work")); err == nil {
			root = filepath.Join(dir, "..", "shared")
		}
	}
	z, err := os.Open(filepath.Join(root, "data", "tokenizer", "vocab.gguf.gz"))
	if err != nil {
		t.Skipf("golden data not found: %v", err)
	}
	defer func() { _ = z.Close() }()
	r, err := gzip.NewReader(z)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	f, err := gguf.ParseBytes(b)
	if err != nil {
		t.Fatal(err)
	}
	tok, err := tokenizer.FromGGUF(f, tokenizer.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

// edits is a conversation about a file: read it, rename something in all of it, then change one
// function by an edit that quotes it. Turns alternate between what is read and what is written.
func edits(t *testing.T) []string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", "seq.go.txt"))
	if err != nil {
		t.Fatal(err)
	}
	file := string(b)
	at := strings.Index(file, "// Rewind cuts")
	end := strings.Index(file, "// reserve makes")
	if at < 0 || end < at {
		t.Fatal("seq.go.txt is not what this test knows")
	}
	old := strings.TrimSpace(strings.ReplaceAll(file[at:end], "reserve", "claim"))
	changed := strings.Replace(old, "\tq.n = n\n", "\tq.n = n\n\tq.tokens = q.tokens[:n]\n", 1)
	return []string{
		"Here is seq.go:\n```go\n" + file + "```\nRename reserve to claim, and give me the whole file.",
		"Renamed in every place:\n```go\n" + strings.ReplaceAll(file, "reserve", "claim") + "```\n",
		"Now let Rewind cut the tokens too.",
		"I cut the tokens where the length is set.\n<edit path=\"seq.go\">\n<old>" + old + "</old>\n<new>" + changed + "</new>\n</edit>\n",
		"Explain in three sentences what a page is.",
		"A page holds two thousand and forty-eight consecutive positions of one conversation, all layers together. Whoever stands at or " +
			"beyond everything that others can see may append in place, and everybody else gets a copy first. That is why a snapshot costs " +
			"no memory on the device until two answers part.\n",
	}
}

// TestLookupOnEdits tells what looking up is worth in a conversation about a file, on machines of several kinds: text by text,
// with the controller's own decisions and the published tokenizer.
func TestLookupOnEdits(t *testing.T) {
	tok := published(t)
	var turns [][]int32
	for _, turn := range edits(t) {
		turns = append(turns, tok.Encode(nil, turn))
	}
	for _, m := range machines {
		if gain := looked(t, m, turns); m.name != "arithmetic" && gain < 1.5 || gain < 0.98 {
			t.Errorf("%s: %.2f times as fast", m.name, gain)
		}
	}
}

// looked is how much faster the answers of a conversation are on a machine, its turns by turns what is read and what is
// written, if guesses are looked up.
func looked(t *testing.T, m machine, turns [][]int32) float64 {
	t.Helper()
	c := draft.NewController(draft.Options{})
	var all []int32
	plain, took := 0.0, 0.0
	for i, ids := range turns {
		if i%2 == 0 {
			all = append(all, ids...)
			continue
		}
		l := draft.NewLookup(append(all[:len(all):len(all)], ids[0]))
		track := c.Track(l, false)
		off, on := 0.0, 0.0
		for at := 1; at < len(ids); {
			c.Plan([]draft.Ask{{Track: track, Rows: 1, Most: len(ids) - at - 1, Ctx: len(all) + at}}, draft.Room{Rows: 128, Outs: 34})
			guesses := track.Guesses()
			kept := draft.Walk(guesses, func(row int) (int32, bool) { return ids[at+row], true }, nil)
			track.Accept(ids[at : at+kept+1]...)
			track.Verified(kept, false)
			s := m.price(len(guesses) + 1)
			c.Stepped(len(guesses)+1, s)
			on, off, at = on+s, off+float64(kept+1)*m.price(1), at+kept+1
		}
		t.Logf("%s, answer %d of %d tokens: %.2f times as fast; %s", m.name, i/2+1, len(ids), off/on, track.Stats.String())
		all = append(all, ids...)
		plain, took = plain+off, took+on
	}
	t.Logf("%s: %.2f times as fast; %s", m.name, plain/took, c.Stats.String())
	return plain / took
}
