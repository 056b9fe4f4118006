package constrain

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/ds4-go/ds4/modules/serve/servetest"
)

var (
	tok   = servetest.Tokenizer()
	vocab = NewVocab(tok)
)

// matches runs a whole text through a grammar, byte by byte.
func matches(g *Grammar, text string) bool {
	m := g.Matcher(vocab)
	return m.Write(text) && m.MayEnd()
}

func TestJSON(t *testing.T) {
	g := JSON()
	for _, s := range []string{`{}`, `{"a":1}`, `{"a": [1, -2.5e-3, "x\n\u00e9é€😀", true, null, {"b":{}}]}`, "{\n  \"a\": 1,\n  \"b\": []\n}", ` {"":""}`} {
		if !matches(g, s) {
			t.Errorf("%s: want it allowed", s)
		}
	}
	for _, s := range []string{``, `[]`, `{"a"}`, `{"a":01}`, `{"a":1,}`, `{a:1}`, "{\"a\":\"\n\"}", "{\"a\":\"\xff\"}", `{"a":.5}`, `{} `, `{"a":tru}`,
		strings.Repeat(`{"a":`, maxDepth+2)} {
		if matches(g, s) {
			t.Errorf("%s: want it refused", s)
		}
	}
}

const person = `{"type":"object","title":"Person","properties":{
	"name":{"type":"string","minLength":2,"maxLength":8},
	"age":{"type":["integer","null"]},
	"kind":{"enum":["a","b",3]},
	"tags":{"type":"array","items":{"type":"string"},"minItems":1,"maxItems":3},
	"friend":{"$ref":"#"},
	"at":{"anyOf":[{"type":"boolean"},{"const":{"x":1}}]},
	"more":{"type":"object","additionalProperties":{"type":"number"}}
},"required":["name","tags"],"additionalProperties":false}`

func TestSchema(t *testing.T) {
	g, err := Schema([]byte(person))
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{`{"name":"Al","tags":["x"]}`, `{"name": "Al", "age": null, "kind": 3, "tags": ["x", "y", ""]}`,
		`{"name":"Al","tags":["x"],"friend":{"name":"Bobé","tags":["y"],"at":{"x":1}},"at":true,"more":{"q":1.5,"r":2}}`} {
		if !matches(g, s) {
			t.Errorf("%s: want it allowed", s)
		}
	}
	for _, s := range []string{`{}`, `{"name":"A","tags":["x"]}`, `{"name":"Al","tags":[]}`, `{"name":"Al","tags":["a","b","c","d"]}`,
		`{"tags":["x"],"name":"Al"}`, `{"name":"Al","kind":4,"tags":["x"]}`, `{"name":"Al","tags":["x"],"zip":1}`, `{"name":"much too long","tags":["x"]}`,
		`{"name":"Al","age":1.5,"tags":["x"]}`, `{"name":"Al","tags":["x"],"more":{"q":"r"}}`} {
		if matches(g, s) {
			t.Errorf("%s: want it refused", s)
		}
	}
}

func TestSchemaRefuses(t *testing.T) {
	for _, c := range []struct{ schema, want string }{
		{`{"type":"string","pattern":"x"}`, "schema.pattern: is not supported"},
		{`{"type":"object","properties":{"a":{"type":"number","minimum":3}}}`, "schema.properties.a.minimum: is not supported"},
		{`{"type":"thing"}`, "schema.type: want object"},
		{`{"$ref":"http://example.org"}`, "want a place in the schema"},
		{`{"$ref":"#/$defs/no"}`, "there is no"},
		{`{"$ref":"#"}`, "allows no value"},
		{`{"enum":[]}`, "want values"},
		{`{"type":"array","minItems":3,"maxItems":2}`, "want at least 3"},
		{`{"type":"object","properties":{"a":{}},"required":["b"]}`, "want declared properties"},
		{`3`, "want an object"},
		{`{"type":"array","minItems":1e9}`, "minItems"},
	} {
		if _, err := Schema([]byte(c.schema)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: want %q, got %v", c.schema, c.want, err)
		}
	}
}

// TestMask: whatever a sampler takes within the masks, the text is JSON of the schema, and every token outside would have
// left the grammar.
func TestMask(t *testing.T) {
	for _, c := range []struct {
		name string
		make func() (*Grammar, error)
	}{{"json", func() (*Grammar, error) { return JSON(), nil }}, {"person", func() (*Grammar, error) { return Schema([]byte(person)) }}} {
		t.Run(c.name, func(t *testing.T) {
			g, err := c.make()
			if err != nil {
				t.Fatal(err)
			}
			rng := rand.New(rand.NewPCG(1, 2))
			whole := 0
			for range 60 {
				text, ended, err := sampled(g, rng)
				if err != nil {
					t.Fatal(err)
				}
				if !ended {
					continue
				}
				whole++
				if !json.Valid([]byte(text)) || !matches(g, text) {
					t.Errorf("want JSON, got %q", text)
				}
			}
			if whole < 20 {
				t.Errorf("want 20 texts that ended, got %d", whole)
			}
		})
	}
}

func sampled(g *Grammar, rng *rand.Rand) (text string, ended bool, err error) {
	m := g.Matcher(vocab)
	for range 400 {
		mask := m.Mask()
		var allowed []int32
		for id := range int32(tok.Len()) {
			if mask[id/32]>>(id%32)&1 == 1 {
				allowed = append(allowed, id)
			}
		}
		if len(allowed) == 0 {
			return text, false, fmt.Errorf("nothing may follow %q", text)
		}
		id := allowed[rng.IntN(len(allowed))]
		for _, a := range allowed { // strings and lists that end now and then
			if s := tok.Text(a); (s == `"` || s == "}" || s == "]") && rng.IntN(4) == 0 {
				id = a
			}
		}
		if id == tok.Special().EOS || m.MustEnd() {
			return text, true, nil
		}
		other := rng.Int32N(int32(tok.Len()))
		if mask[other/32]>>(other%32)&1 == 0 && !tok.IsSpecial(other) && matchesStart(g, text+tok.Text(other)) {
			return text, false, fmt.Errorf("%q may follow %q, but is not in the mask", tok.Text(other), text)
		}
		if !m.Accept(id) {
			return text, false, fmt.Errorf("%q is in the mask, but may not follow %q", tok.Text(id), text)
		}
		text += tok.Text(id)
	}
	return text, false, nil
}

func matchesStart(g *Grammar, text string) bool { return g.Matcher(vocab).Write(text) }

func FuzzSchema(f *testing.F) {
	f.Add([]byte(person), []byte(`{"name":"Al","tags":["x"]}`))
	f.Add([]byte(`{"anyOf":[{"$ref":"#/$defs/a"}],"$defs":{"a":{"type":"array","items":{"$ref":"#"}}}}`), []byte(`[[[]]]`))
	f.Fuzz(func(t *testing.T, schema, text []byte) {
		g, err := Schema(schema)
		if err != nil {
			return
		}
		if matches(g, string(text)) && !json.Valid(text) {
			t.Fatalf("%q is allowed, but no JSON", text)
		}
	})
}

// BenchmarkMask is a mask that has to be made: at the first character of a string.
func BenchmarkMask(b *testing.B) {
	g := JSON()
	for b.Loop() {
		g.cache = nil
		m := g.Matcher(vocab)
		m.Write(`{"a`)
		m.Mask()
	}
}
