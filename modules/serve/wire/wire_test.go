package wire

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
)

func TestParseRefuses(t *testing.T) {
	for _, c := range []struct{ body, want string }{
		{``, "want a value, got the end"},
		{`{"a":1,"a":2}`, `key "a" comes twice`},
		{`{"a":1,}`, "want a key"},
		{`{"a":1 "b":2}`, "want ',' or '}'"},
		{`[1,]`, "want a value"},
		{`{} x`, "want the end of the body"},
		{"\"\xff\"", "not UTF-8"},
		{"\"\\n\xff\"", "not UTF-8"},
		{"\"a\nb\"", "control character"},
		{`1e999`, "out of range"},
		{`01`, "want a number"},
		{`-`, "want a number"},
		{`1.`, "want a digit"},
		{`1e+`, "want a digit"},
		{`"\x"`, "want an escape"},
		{`"\u12g4"`, "hexadecimal"},
		{`"\u1`, "hexadecimal"},
		{`"abc`, "got the end"},
		{`inf`, "want a value"},
		{`0x10`, "want the end"},
		{strings.Repeat("[", MaxDepth+1), "nesting"},
		{`{"a" 1}`, "want ':'"},
		{`{1:2}`, "want a key"},
	} {
		if _, err := Parse([]byte(c.body)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: want %q, got %v", c.body, c.want, err)
		}
	}
}

func TestParseKeeps(t *testing.T) {
	n, err := Parse([]byte(` {"b": 1e3, "a": ["\u00e9\ud83d\ude00\ud800x", true, null], "c": {"x":"<&>"}} `))
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"b":1e3,"a":["é😀�x",true,null],"c":{"x":"<&>"}}`
	if got := string(n.Compact(nil)); got != want {
		t.Errorf("want %s, got %s", want, got)
	}
	if raw := string(n.Get("c").Raw); raw != `{"x":"<&>"}` {
		t.Errorf("raw: got %s", raw)
	}
}

func TestObject(t *testing.T) {
	o, e := Body([]byte(`{"i":3.0,"f":0.5,"s":null,"list":["a","b"],"in":{"x":[{"y":"z"},{"y":4}]},"b":true}`))
	if e != nil {
		t.Fatal(e)
	}
	var i int
	var f float64
	s, b := "kept", false
	var list []string
	o.Int("i", &i, 0, 10)
	o.Float("f", &f, 0, 1)
	o.String("s", &s)
	o.Bool("b", &b)
	o.Strings("list", &list, 4)
	if o.Err() != nil || i != 3 || f != 0.5 || s != "kept" || !b || !reflect.DeepEqual(list, []string{"a", "b"}) {
		t.Fatalf("got %v %v %v %v %v %v", i, f, s, b, list, o.Err())
	}
	in, _ := o.Object("in")
	in.Objects("x", func(_ int, x Obj) { x.String("y", &s) })
	if err := o.Err(); err == nil || err.Param != "in.x[1].y" || err.Message != "in.x[1].y: want a string, got a number" {
		t.Errorf("got %+v", err)
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{`{"a":[1,2.5e-3,"x\n\u00e9"],"b":null}`, `"\ud800"`, `[[[[{}]]]]`, `-0.0`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		n, err := Parse(data)
		if err != nil {
			return
		}
		if !json.Valid(data) {
			t.Fatalf("accepted %q, which encoding/json does not", data)
		}
		again, err := Parse(n.Compact(nil))
		if err != nil {
			t.Fatalf("%q became %q: %v", data, n.Compact(nil), err)
		}
		if a, b := n.Compact(nil), again.Compact(nil); !bytes.Equal(a, b) {
			t.Fatalf("%q is not stable: %q", a, b)
		}
	})
}
