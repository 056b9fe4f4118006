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
		{`{"type":"string","pattern":"\\bx"}`, "schema.pattern: "},
		{`{"type":"string","pattern":"(?=x)"}`, "schema.pattern: "},
		{`{"type":"string","pattern":"a^"}`, "schema.pattern: "},
		{`{"type":"string","pattern":"x","minLength":3}`, "schema.pattern: is not supported beside"},
		{`{"type":"string","pattern":"((a{1000}){1000}){1000}"}`, "schema.pattern: "},
		{`{"type":"string","pattern":"(` + strings.Repeat("ab", 200) + `){999}"}`, "steps"},
		{`{"type":"string","minimum":1}`, "schema.minimum: is not supported"},
		{`{"type":"object","properties":{"a":{"type":"number","minimum":0.5}}}`, "schema.properties.a.minimum: want a whole number"},
		{`{"type":"number","multipleOf":0.01}`, "schema.multipleOf: is not supported"},
		{`{"type":"integer","multipleOf":0}`, "schema.multipleOf: want a positive integer"},
		{`{"type":"integer","multipleOf":7,"minimum":1,"maximum":6}`, "schema.multipleOf: there is none"},
		{`{"type":"integer","multipleOf":7,"minimum":1}`, "schema.multipleOf: want at most 1024"},
		{`{"type":"integer","minimum":3,"exclusiveMaximum":3}`, "allow no integer"},
		{`{"type":"integer","exclusiveMinimum":true}`, "schema.exclusiveMinimum: want a number"},
		{`{"type":"array","uniqueItems":true}`, "schema.uniqueItems: is not supported"},
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

func TestKeywords(t *testing.T) {
	for _, c := range []struct {
		schema  string
		yes, no []string
	}{
		{`{"type":"string","pattern":"^[A-Z]{2}-\\d+$"}`, []string{`"AB-1"`, `"ZZ-0042"`}, []string{`"AB-"`, `"aB-1"`, `"AB-1x"`, `""`}},
		{`{"type":"string","pattern":"b+"}`, []string{`"b"`, `"abbc"`, `"é\nb"`}, []string{`""`, `"a"`}},
		{`{"type":"string","pattern":"^a|b$"}`, []string{`"a"`, `"ax"`, `"xb"`}, []string{`"xa"`, `"bx"`}},
		{`{"type":"string","pattern":"^[^é\"]$"}`, []string{`"e"`, `"\\"`, `"\n"`, `"😀"`, `"ê"`}, []string{`"é"`, `"\\\""`, `"ee"`}},
		{`{"type":"string","pattern":"(?i)^straße$"}`, []string{`"straße"`, `"STRAẞE"`}, []string{`"strasse"`}},
		{`{"type":"string","pattern":"^.$"}`, []string{`"\t"`, `"x"`}, []string{`"\n"`, `"xx"`}},
		{`{"type":"integer","minimum":-3,"maximum":120}`, []string{"-3", "-1", "0", "7", "99", "120"}, []string{"-4", "-0", "121", "1.0", "012"}},
		{`{"type":"integer","exclusiveMinimum":99,"exclusiveMaximum":1005}`, []string{"100", "999", "1000", "1004"}, []string{"99", "1005", "-100"}},
		{`{"type":"integer","minimum":1}`, []string{"1", "10", "9007199254740992"}, []string{"0", "-1", "9007199254740993"}},
		{`{"type":"integer","maximum":-10}`, []string{"-10", "-123"}, []string{"-9", "0", "5"}},
		{`{"type":"integer","multipleOf":5,"minimum":-7,"maximum":12}`, []string{"-5", "0", "5", "10"}, []string{"-10", "15", "3"}},
		{`{"type":"integer","multipleOf":12}`, []string{"0", "12", "-24", "120", "1200000000000"}, []string{"1", "18", "-6", "00", "-0"}},
		{`{"type":"number","minimum":0,"maximum":1}`, []string{"0", "0.25", "1", "1.0", "0.0"}, []string{"-0.1", "1.01", "2", "1e9"}},
		{`{"type":"number","exclusiveMinimum":0,"exclusiveMaximum":2}`, []string{"0.001", "1", "1.999"}, []string{"0", "0.0", "2", "2.0", "-1"}},
		{`{"type":"number","minimum":-2}`, []string{"-2", "-1.5", "-0.5", "0", "1234.5"}, []string{"-2.1", "-3"}},
		{`{"type":"number","maximum":-1}`, []string{"-1", "-1.5", "-20"}, []string{"-0.5", "0", "1"}},
		{`{"type":["integer","null"],"minimum":3}`, []string{"null", "3"}, []string{"2"}},
	} {
		g, err := Schema([]byte(c.schema))
		if err != nil {
			t.Errorf("%s: %v", c.schema, err)
			continue
		}
		for _, s := range c.yes {
			if !matches(g, s) {
				t.Errorf("%s: want %s allowed", c.schema, s)
			}
		}
		for _, s := range c.no {
			if matches(g, s) {
				t.Errorf("%s: want %s refused", c.schema, s)
			}
		}
	}
}

// TestBounds compares every integer around some bounds with what the bounds say.
func TestBounds(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for range 12 {
		lo := rng.IntN(2400) - 1200
		hi, by := lo+rng.IntN(700), 1+rng.IntN(9)
		g, err := Schema(fmt.Appendf(nil, `{"type":"integer","minimum":%d,"maximum":%d,"multipleOf":%d}`, lo, hi, by))
		if err != nil {
			continue // no multiple between them
		}
		for i := lo - 30; i < hi+30; i++ {
			if want := lo <= i && i <= hi && i%by == 0; matches(g, fmt.Sprint(i)) != want {
				t.Fatalf("%d from %d to %d by %d: want %t", i, lo, hi, by, want)
			}
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
	f.Add([]byte(`{"type":"string","pattern":"^[^a-c]+(x|\\d{2,3})?$"}`), []byte(`"zé12"`))
	f.Add([]byte(`{"type":"array","items":{"type":"integer","minimum":-3,"exclusiveMaximum":40,"multipleOf":3},"maxItems":3}`), []byte(`[-3, 39]`))
	f.Add([]byte(`{"type":"number","exclusiveMinimum":0,"maximum":7}`), []byte(`0.5`))
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
