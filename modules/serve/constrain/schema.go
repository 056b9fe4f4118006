package constrain

import (
	"fmt"
	"strings"

	"github.com/ds4-go/ds4/modules/serve/wire"
)

// annotations are keywords of a schema that say nothing about what a value may be.
var annotations = map[string]bool{
	"$schema": true, "$id": true, "$comment": true, "$defs": true, "definitions": true, "title": true, "description": true, "default": true,
	"examples": true, "example": true, "deprecated": true, "readOnly": true, "writeOnly": true, "format": true, "strict": true, "discriminator": true,
}

// Schema is JSON of a schema. It knows type, enum, const, properties, required, additionalProperties, items, minItems,
// maxItems, minLength, maxLength, pattern, minimum, maximum, exclusiveMinimum, exclusiveMaximum, multipleOf of integers, anyOf,
// oneOf, allOf of one, and $ref into the schema itself; a schema with another keyword that restricts values is an error that
// names it. Properties come in the order of the schema, and only declared ones come where there are any.
func Schema(raw []byte) (*Grammar, error) {
	n, err := wire.Parse(raw)
	if err != nil {
		return nil, err
	}
	s := newSchema(&program{}, n, alphabet{})
	e := s.value(n, "schema")
	if s.err != nil {
		return nil, s.err
	}
	g, err := s.p.finish(seq(s.k.space, e))
	if err != nil {
		return nil, err
	}
	// behind the white space, something must be allowed
	if first := newCache(nil, g.code).closure([]thread{{1, 0}}); len(first.threads) == 0 {
		return nil, fmt.Errorf("schema: allows no value")
	}
	return g, nil
}

type schema struct {
	p    *program
	k    kinds
	a    alphabet // of strings inside JSON
	root *wire.Node
	refs map[string]expr
	err  error

	depth, arguments int // of references that lead to an argument, and how many were read
}

func newSchema(p *program, root *wire.Node, a alphabet) *schema {
	return &schema{p: p, k: p.json(a), a: a, root: root, refs: map[string]expr{}}
}

func (s *schema) fail(path, format string, a ...any) expr {
	if s.err == nil {
		s.err = fmt.Errorf("%s: %s", path, fmt.Sprintf(format, a...))
	}
	return empty
}

// value is what a schema allows.
func (s *schema) value(n *wire.Node, path string) expr {
	if s.err != nil {
		return empty
	}
	switch {
	case n.Kind == wire.Bool && n.Text == "true":
		return s.k.value
	case n.Kind != wire.Object:
		return s.fail(path, "want an object, got %s", n.Kind)
	}
	if len(s.p.rules) > 1<<14 {
		return s.fail(path, "want a smaller schema")
	}
	known := map[string]bool{}
	use := func(keys ...string) {
		for _, k := range keys {
			known[k] = true
		}
	}
	e := s.kind(n, path, use)
	for _, key := range n.Keys {
		if !known[key] && !annotations[key] {
			return s.fail(path+"."+key, "is not supported")
		}
	}
	return e
}

func (s *schema) kind(n *wire.Node, path string, use func(...string)) expr {
	for _, key := range []string{"$ref", "const", "enum", "anyOf", "oneOf", "allOf"} {
		v := n.Get(key)
		if v.Kind == wire.Null && !hasKey(n, key) {
			continue
		}
		use(key, "type")
		at := path + "." + key
		switch key {
		case "$ref":
			return s.ref(v, at)
		case "const":
			return lit(string(v.Compact(nil)))
		case "enum":
			var list []expr
			for i := range v.Items {
				list = append(list, lit(string(v.Items[i].Compact(nil))))
			}
			if len(list) == 0 {
				return s.fail(at, "want values")
			}
			return alt(list...)
		}
		if key == "allOf" && len(v.Items) != 1 {
			return s.fail(at, "is supported with one schema only")
		}
		var list []expr
		for i := range v.Items {
			list = append(list, s.value(&v.Items[i], fmt.Sprintf("%s[%d]", at, i)))
		}
		if len(list) == 0 {
			return s.fail(at, "want schemas")
		}
		return alt(list...)
	}
	return s.typed(n, path, use)
}

func hasKey(n *wire.Node, key string) bool {
	for _, k := range n.Keys {
		if k == key {
			return true
		}
	}
	return false
}

func (s *schema) typed(n *wire.Node, path string, use func(...string)) expr {
	use("type")
	t := n.Get("type")
	switch t.Kind {
	case wire.String:
		return s.ofType(t.Text, n, path, use)
	case wire.Array:
		var list []expr
		for i := range t.Items {
			list = append(list, s.ofType(t.Items[i].Text, n, path, use))
		}
		if len(list) > 0 {
			return alt(list...)
		}
	case wire.Null:
		switch {
		case hasKey(n, "properties"):
			return s.object(n, path, use)
		case hasKey(n, "items"):
			return s.array(n, path, use)
		}
		return s.k.value
	}
	return s.fail(path+".type", "want a type or a list of types")
}

func (s *schema) ofType(t string, n *wire.Node, path string, use func(...string)) expr {
	switch t {
	case "object":
		return s.object(n, path, use)
	case "array":
		return s.array(n, path, use)
	case "string":
		if !hasKey(n, "minLength") && !hasKey(n, "maxLength") && !hasKey(n, "pattern") {
			return s.k.str
		}
		return seq(lit(`"`), s.text(n, path, use, s.a), lit(`"`))
	case "integer":
		return s.integer(n, path, use)
	case "number":
		return s.number(n, path, use)
	case "boolean":
		return alt(lit("true"), lit("false"))
	case "null":
		return lit("null")
	}
	return s.fail(path+".type", "want object, array, string, integer, number, boolean or null, got %q", t)
}

// bounds reads two limits; most is -1 where there is none.
func (s *schema) bounds(n *wire.Node, path, least, most string, use func(...string)) (lo, hi int) {
	const limit = 4096
	use(least, most)
	r := &wire.Reader{}
	o := wire.NewObj(r, path+".", n)
	hi = -1
	o.Int(least, &lo, 0, limit)
	o.Int(most, &hi, 0, limit)
	if err := r.Err(); err != nil && s.err == nil {
		s.err = err
	}
	if hi >= 0 && hi < lo {
		s.fail(path+"."+most, "want at least %d, got %d", lo, hi)
	}
	return lo, hi
}

// times is e from lo to hi times, with something between; hi is -1 where there is no end.
func times(lo, hi int, e, between expr) expr {
	next := seq(between, e)
	more := func(lo, hi int) expr {
		var list []expr
		for range lo {
			list = append(list, next)
		}
		if hi < 0 {
			return seq(append(list, star(next))...)
		}
		return seq(append(list, atMost(hi-lo, next))...)
	}
	switch {
	case hi == 0:
		return empty
	case hi > 0:
		hi--
	}
	if lo == 0 {
		return opt(seq(e, more(0, hi)))
	}
	return seq(e, more(lo-1, hi))
}

// text is a string without what is around it.
func (s *schema) text(n *wire.Node, path string, use func(...string), a alphabet) expr {
	lo, hi := s.bounds(n, path, "minLength", "maxLength", use)
	use("pattern")
	if hasKey(n, "pattern") {
		at, p := path+".pattern", n.Get("pattern")
		switch {
		case lo > 0 || hi >= 0:
			return s.fail(at, "is not supported beside minLength and maxLength")
		case p.Kind != wire.String || len(p.Text) > maxPattern:
			return s.fail(at, "want a string of at most %d bytes", maxPattern)
		}
		e, err := s.pattern(p.Text, a)
		if err != nil {
			return s.fail(at, "%s", err)
		}
		return e
	}
	c, define := s.p.rule()
	define(a.char())
	if lo == 0 && hi < 0 {
		return star(c)
	}
	return times(lo, hi, c, empty)
}

func (s *schema) array(n *wire.Node, path string, use func(...string)) expr {
	use("items")
	lo, hi := s.bounds(n, path, "minItems", "maxItems", use)
	item := s.k.value
	if hasKey(n, "items") {
		call, define := s.p.rule()
		define(s.value(n.Get("items"), path+".items"))
		item = call
	}
	item = seq(item, s.k.space)
	return seq(lit("["), s.k.space, times(lo, hi, item, seq(lit(","), s.k.space)), lit("]"))
}

// object is an object with the declared properties, in order. What follows a property depends only on whether a comma is
// due, so there are two rules for each.
func (s *schema) object(n *wire.Node, path string, use func(...string)) expr {
	use("properties", "required", "additionalProperties")
	props := n.Get("properties")
	extra := n.Get("additionalProperties")
	if len(props.Keys) == 0 {
		var value expr
		switch {
		case extra.Kind == wire.Bool && extra.Text == "false":
			return seq(lit("{"), s.k.space, lit("}"))
		case extra.Kind == wire.Object:
			call, define := s.p.rule()
			define(s.value(extra, path+".additionalProperties"))
			value = call
		case n.Get("required").Kind == wire.Array && len(n.Get("required").Items) > 0:
			return s.fail(path+".required", "want declared properties")
		default:
			return s.k.object
		}
		return s.k.list("{", "}", seq(s.k.str, s.k.space, lit(":"), s.k.space, value))
	}
	required := s.required(n, path)
	next := [2]expr{empty, empty} // without and with a comma due
	for i := len(props.Keys) - 1; i >= 0; i-- {
		key := props.Keys[i]
		value, defineValue := s.p.rule()
		defineValue(s.value(&props.Items[i], path+".properties."+key))
		member := seq(lit(string(wire.AppendString(nil, key))), s.k.space, lit(":"), s.k.space, value, s.k.space)
		var here [2]expr
		for due := range here {
			e := seq(member, next[1])
			if due == 1 {
				e = seq(lit(","), s.k.space, member, next[1])
			}
			if !required[key] {
				e = alt(e, next[due])
			}
			call, define := s.p.rule()
			define(e)
			here[due] = call
		}
		next = here
	}
	return seq(lit("{"), s.k.space, next[0], lit("}"))
}

// required are the names of properties that must come. They must be declared.
func (s *schema) required(n *wire.Node, path string) map[string]bool {
	out := map[string]bool{}
	for _, r := range n.Get("required").Items {
		if !hasKey(n.Get("properties"), r.Text) {
			s.fail(path+".required", "want declared properties, got %q", r.Text)
		}
		out[r.Text] = true
	}
	return out
}

// ref is a schema elsewhere in the schema, which may be around this one.
func (s *schema) ref(v *wire.Node, path string) expr {
	if call, ok := s.refs[v.Text]; ok {
		return call
	}
	n, err := s.lookup(v)
	if err != nil {
		return s.fail(path, "%s", err)
	}
	call, define := s.p.rule()
	s.refs[v.Text] = call
	define(s.value(n, v.Text))
	return call
}

// lookup finds what a reference means.
func (s *schema) lookup(v *wire.Node) (*wire.Node, error) {
	rest, ok := strings.CutPrefix(v.Text, "#")
	if !ok || v.Kind != wire.String {
		return nil, fmt.Errorf("want a place in the schema itself, such as #/$defs/name, got %q", v.Text)
	}
	n := s.root
	for _, part := range strings.Split(rest, "/")[1:] {
		part = strings.ReplaceAll(strings.ReplaceAll(part, "~1", "/"), "~0", "~")
		if !hasKey(n, part) {
			return nil, fmt.Errorf("there is no %q", v.Text)
		}
		n = n.Get(part)
	}
	return n, nil
}
