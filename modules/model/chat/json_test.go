package chat

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

// Both go on working, and in time, with as many keys as a request may bring.
func TestManyKeys(t *testing.T) {
	var b strings.Builder
	b.WriteByte('{')
	const n = 50000
	for i := range n {
		fmt.Fprintf(&b, `"k%d":%d,`, i, i)
	}
	b.WriteString(`"k7":"again"}`)
	v, err := parseJSON(b.String())
	if err != nil {
		t.Fatal(err)
	}
	if k := v.get("k7"); len(v.keys) != n || v.keys[7] != "k7" || k.text != "again" {
		t.Errorf("want %d keys and the last value in the first place, got %d, %q", n, len(v.keys), k.text)
	}
	if !v.equal(v) {
		t.Error("want a value equal to itself")
	}
}

func TestSameArguments(t *testing.T) {
	for _, c := range []struct {
		a, b string
		same bool
	}{
		{`{}`, `{}`, true}, {`{"a":1,"b":[2]}`, `{ "b":[2.0], "a":1e0 }`, true}, {`{"a":"\u00e9"}`, `{"a":"é"}`, true},
		{`{"a":12345678901234567890}`, `{"a":12345678901234567891}`, false}, {`{"a":-0}`, `{"a":0}`, true},
		{`{"a":1}`, `{"a":"1"}`, false}, {`{"a":1}`, `{"a":1,"b":1}`, false}, {`{"a":[1,2]}`, `{"a":[2,1]}`, false},
		{`{"a":1e999}`, `{"a":2e999}`, false}, {`x`, `x`, true}, {`x`, `{}`, false}, {`{"a":null}`, `{"b":null}`, false},
	} {
		if got := sameArguments(c.a, c.b); got != c.same {
			t.Errorf("%s and %s: want %v, got %v", c.a, c.b, c.same, got)
		}
		if got := sameArguments(c.b, c.a); got != c.same {
			t.Errorf("%s and %s: want %v, got %v", c.b, c.a, c.same, got)
		}
	}
}

// FuzzJSON: what is written for the model is JSON that means the same, and compacting changes only white space.
func FuzzJSON(f *testing.F) {
	for _, s := range []string{`{"a":[1,2.50,-0,1e3,"\u00e9\\\"",null,true]}`, ` [ ] `, `{"a":1,"a":{}}`, `1e-7`, `"\ud83d\ude00\ud800"`, `12345678901234567890`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		compact, ok := compactJSON(text)
		v, err := parseJSON(text)
		if ok != (err == nil) && json.Valid([]byte(text)) {
			t.Fatalf("%q: compact %v, parsed %v", text, ok, err)
		}
		if _, err := ParseTool([]byte(text)); err == nil && v.kind != jsonObject {
			t.Fatalf("%q: a tool that is no object", text)
		}
		if err != nil {
			return
		}
		if w, err := parseJSON(compact); err != nil || string(w.python(nil)) != string(v.python(nil)) {
			t.Fatalf("%q: compacted to %q (%v)", text, compact, err)
		}
		written := string(v.python(nil))
		w, err := parseJSON(written)
		if err != nil {
			if strings.Contains(written, "Infinity") {
				return
			}
			t.Fatalf("%q: written as %q: %v", text, written, err)
		}
		if !v.equal(w) || string(w.python(nil)) != written {
			t.Fatalf("%q: written as %q, which is not the same", text, written)
		}
	})
}
