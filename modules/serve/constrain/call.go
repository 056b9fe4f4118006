package constrain

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/ds4-go/ds4/modules/serve/wire"
)

// dsml stands for the token ｜DSML｜ in programs: a byte that is in no text.
const dsml = "\xff"

// Tool is a tool that may be called. Parameters is the schema that its arguments must keep to; nil: they are free.
type Tool struct {
	Name       string
	Parameters []byte
	Path       string // of the schema, for errors
}

// CallHead is the tag that begins a block of calls, from behind ｜DSML｜ on: where a text of Calls begins.
const CallHead = "tool_calls>"

// Calls is a block of tool calls as the model writes it, from behind the first ｜DSML｜ on: one call or more of the tools, each
// with the parameters of its schema in their order.
func Calls(tools []Tool) (*Grammar, error) {
	p := &program{}
	a := alphabet{call: true}
	gap := seq(lit("\n"), atMost(2, lit("\n")))
	free := newSchema(p, &wire.Node{}, a).free()
	var invokes []expr
	for _, t := range tools {
		if strings.Contains(t.Name, `"`) || !utf8.ValidString(t.Name) {
			return nil, fmt.Errorf("tool: want a name without quotes, got %q", t.Name)
		}
		params := star(seq(free, gap))
		if t.Parameters != nil {
			n, err := wire.Parse(t.Parameters)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", t.Path, err)
			}
			s := newSchema(p, n, a)
			params = s.params(n, t.Path, gap)
			if s.err != nil {
				return nil, s.err
			}
		}
		invokes = append(invokes, seq(lit("<"+dsml+`invoke name="`+t.Name+`">`), gap, params, lit("</"+dsml+"invoke>"), gap))
	}
	invoke, define := p.rule()
	define(alt(invokes...))
	return p.finish(seq(lit(CallHead), gap, plus(invoke), lit("</"+dsml+"tool_calls>")))
}

// free is any parameter.
func (s *schema) free() expr {
	call, define := s.p.rule()
	key := plus(one(bytes(' ', '!', '#', '~')))
	define(seq(lit("<"+dsml+`parameter name="`), key, lit(`" string="`), s.anything(), lit("</"+dsml+"parameter>")))
	return call
}

// anything is a value of any type, from its mark on.
func (s *schema) anything() expr {
	return alt(seq(lit(`true">`), star(alphabet{raw: true, call: true}.char())), seq(lit(`false">`), s.k.object), seq(lit(`false">`), s.k.array),
		seq(lit(`false">`), alt(number(), lit("true"), lit("false"), lit("null"))))
}

// params are the parameters of a call, in the schema's order, each with what separates it from the next.
func (s *schema) params(n *wire.Node, path string, gap expr) expr {
	if t := n.Get("type"); n.Kind != wire.Object || t.Kind != wire.Null && t.Text != "object" {
		return s.fail(path, "want a schema of an object")
	}
	for _, key := range n.Keys {
		switch key {
		case "type", "properties", "required":
		case "additionalProperties":
			if extra := n.Get(key); extra.Kind != wire.Bool {
				return s.fail(path+"."+key, "want a boolean in a strict tool")
			}
		default:
			if !annotations[key] {
				return s.fail(path+"."+key, "is not supported")
			}
		}
	}
	props, required := n.Get("properties"), s.required(n, path)
	var out []expr
	for i, key := range props.Keys {
		at := path + ".properties." + key
		if key == "" || strings.ContainsAny(key, "\"\r\n") || !utf8.ValidString(key) {
			return s.fail(at, "want a name without quotes and line ends")
		}
		value, define := s.p.rule()
		define(s.argument(&props.Items[i], at))
		e := seq(lit("<"+dsml+`parameter name="`+key+`" string="`), value, lit("</"+dsml+"parameter>"), gap)
		if !required[key] {
			e = opt(e)
		}
		out = append(out, e)
	}
	return seq(out...)
}

// argument is a value from its mark on: a string as it is, or the JSON of anything else.
func (s *schema) argument(n *wire.Node, path string) expr {
	s.arguments++
	switch {
	case s.err != nil:
		return empty
	case s.arguments > 1<<13: // references that fork again and again
		return s.fail(path, "want a smaller schema")
	case n.Kind == wire.Bool && n.Text == "true":
		return s.anything()
	case n.Kind != wire.Object:
		return s.fail(path, "want an object, got %s", n.Kind)
	case hasKey(n, "$ref"):
		target, err := s.lookup(n.Get("$ref"))
		if err != nil {
			return s.fail(path+".$ref", "%s", err)
		}
		if s.depth++; s.depth > maxDepth {
			return s.fail(path+".$ref", "leads to itself")
		}
		defer func() { s.depth-- }()
		return s.argument(target, path)
	}
	var list []expr
	for _, key := range []string{"anyOf", "oneOf", "allOf"} {
		if !hasKey(n, key) {
			continue
		}
		s.only(n, path, key, "type")
		if key == "allOf" && len(n.Get(key).Items) != 1 {
			return s.fail(path+"."+key, "is supported with one schema only")
		}
		for i := range n.Get(key).Items {
			list = append(list, s.argument(&n.Get(key).Items[i], fmt.Sprintf("%s.%s[%d]", path, key, i)))
		}
		if len(list) == 0 {
			return s.fail(path+"."+key, "want schemas")
		}
		return alt(list...)
	}
	values := n.Get("enum").Items
	if hasKey(n, "const") {
		values = []wire.Node{*n.Get("const")}
	}
	if len(values) > 0 {
		s.only(n, path, "enum", "const", "type")
		for i := range values {
			list = append(list, s.fixed(&values[i], path))
		}
		return alt(list...)
	}
	return s.typedArgument(n, path)
}

func (s *schema) typedArgument(n *wire.Node, path string) expr {
	types := []wire.Node{*n.Get("type")}
	if types[0].Kind == wire.Array {
		types = types[0].Items
	}
	var list []expr
	used := map[string]bool{"type": true}
	for i := range types {
		switch {
		case types[i].Kind == wire.Null && (hasKey(n, "properties") || hasKey(n, "items")):
			return seq(lit(`false">`), s.value(n, path))
		case types[i].Kind == wire.Null:
			s.only(n, path)
			return s.anything()
		case types[i].Text == "string":
			list = append(list, seq(lit(`true">`), s.text(n, path, mark(used), alphabet{raw: true, call: true})))
		default:
			list = append(list, seq(lit(`false">`), s.ofType(types[i].Text, n, path, mark(used))))
		}
	}
	if len(list) == 0 {
		return s.fail(path+".type", "want a type or a list of types")
	}
	for _, key := range n.Keys {
		if !used[key] && !annotations[key] {
			return s.fail(path+"."+key, "is not supported")
		}
	}
	return alt(list...)
}

func mark(used map[string]bool) func(...string) {
	return func(keys ...string) {
		for _, k := range keys {
			used[k] = true
		}
	}
}

// only refuses other keywords that restrict a value.
func (s *schema) only(n *wire.Node, path string, keys ...string) {
	known := map[string]bool{}
	mark(known)(keys...)
	for _, key := range n.Keys {
		if !known[key] && !annotations[key] {
			s.fail(path+"."+key, "is not supported")
			return
		}
	}
}

// fixed is one value.
func (s *schema) fixed(v *wire.Node, path string) expr {
	text, how := v.Text, `true">`
	if v.Kind != wire.String {
		text, how = string(v.Compact(nil)), `false">`
	}
	if strings.Contains(text, "<｜") || strings.Contains(text, "</｜") {
		return s.fail(path, "holds a value that would end the call: %q", text)
	}
	return lit(how + text)
}
