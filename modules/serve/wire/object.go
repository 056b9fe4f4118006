package wire

import (
	"fmt"
	"slices"
	"strconv"
)

// Reader collects the first complaint about a body. Its objects share it.
type Reader struct{ err *Error }

// Err is the first complaint, or nil.
func (r *Reader) Err() *Error { return r.err }

// Fail makes the first complaint: about the field at path.
func (r *Reader) Fail(path, format string, a ...any) {
	if r.err == nil {
		r.err = BadRequest(path, "%s: %s", path, fmt.Sprintf(format, a...))
	}
}

// Obj reads the fields of an object. Fields that are absent or null leave the destination as it is.
type Obj struct {
	*Reader
	Path string // with a dot at its end, or empty
	n    *Node
}

// Body parses a request body, which must be an object.
func Body(data []byte) (Obj, *Error) {
	n, err := Parse(data)
	if err != nil {
		return Obj{}, BadRequest("", "%s", err.Error())
	}
	if n.Kind != Object {
		return Obj{}, BadRequest("", "body: want an object, got %s", n.Kind)
	}
	return Obj{&Reader{}, "", n}, nil
}

// Node is the object itself.
func (o Obj) Node() *Node { return o.n }

// Has says whether a field is there and not null.
func (o Obj) Has(key string) bool { return o.n.Get(key).Kind != Null }

// Get returns a field's value; null where it is absent.
func (o Obj) Get(key string) *Node { return o.n.Get(key) }

// At is the path of a field.
func (o Obj) At(key string) string { return o.Path + key }

// Fail complains about a field.
func (o Obj) Fail(key, format string, a ...any) { o.Reader.Fail(o.Path+key, format, a...) }

// want returns a field if it is there and of the kind.
func (o Obj) want(key string, kind Kind) (*Node, bool) {
	n := o.n.Get(key)
	if n.Kind == Null {
		return n, false
	}
	if n.Kind != kind {
		o.Fail(key, "want %s, got %s", kind, n.Kind)
		return n, false
	}
	return n, true
}

// String reads a text.
func (o Obj) String(key string, dst *string) {
	if n, ok := o.want(key, String); ok {
		*dst = n.Text
	}
}

// Bool reads a truth value.
func (o Obj) Bool(key string, dst *bool) {
	if n, ok := o.want(key, Bool); ok {
		*dst = n.Text == "true"
	}
}

// Float reads a number between min and max, and says whether it was there.
func (o Obj) Float(key string, dst *float64, min, max float64) bool {
	n, ok := o.want(key, Number)
	if !ok {
		return false
	}
	f, _ := strconv.ParseFloat(n.Text, 64)
	if f < min || f > max {
		o.Fail(key, "want a number from %v to %v, got %s", min, max, n.Text)
		return false
	}
	*dst = f
	return true
}

// Int reads a whole number between min and max, and says whether it was there. 3.0 is whole.
func (o Obj) Int(key string, dst *int, min, max int) bool {
	n, ok := o.want(key, Number)
	if !ok {
		return false
	}
	v, ok := wholeNumber(n)
	if !ok || v < int64(min) || v > int64(max) {
		o.Fail(key, "want a whole number from %d to %d, got %s", min, max, clip(n.Text))
		return false
	}
	*dst = int(v)
	return true
}

// wholeNumber is the value of a number without a fraction that fits 53 bits, or 64 where it is spelled as an integer.
func wholeNumber(n *Node) (int64, bool) {
	if v, err := strconv.ParseInt(n.Text, 10, 64); err == nil {
		return v, true
	}
	f, err := strconv.ParseFloat(n.Text, 64)
	if err != nil || f != float64(int64(f)) || f > 1<<53 || f < -(1<<53) {
		return 0, false
	}
	return int64(f), true
}

// Choice reads a text that must be one of the given ones.
func (o Obj) Choice(key string, dst *string, of ...string) {
	n, ok := o.want(key, String)
	switch {
	case !ok:
	case !slices.Contains(of, n.Text):
		o.Fail(key, "want one of %q, got %q", of, clip(n.Text))
	default:
		*dst = n.Text
	}
}

// Object returns an object field.
func (o Obj) Object(key string) (Obj, bool) {
	n, ok := o.want(key, Object)
	return Obj{o.Reader, o.Path + key + ".", n}, ok
}

// Array returns the items of an array field.
func (o Obj) Array(key string) ([]Node, bool) {
	n, ok := o.want(key, Array)
	return n.Items, ok
}

// Objects calls f for each item of an array field, all of which must be objects.
func (o Obj) Objects(key string, f func(i int, item Obj)) {
	items, _ := o.Array(key)
	for i := range items {
		if item, ok := o.Item(key, i, &items[i]); ok {
			f(i, item)
		}
	}
}

// Item makes an Obj of item i of an array field.
func (o Obj) Item(key string, i int, n *Node) (Obj, bool) {
	path := fmt.Sprintf("%s%s[%d]", o.Path, key, i)
	if n.Kind != Object {
		o.Reader.Fail(path, "want an object, got %s", n.Kind)
		return Obj{}, false
	}
	return Obj{o.Reader, path + ".", n}, o.err == nil
}

// Strings reads a text or an array of texts; at most most of them.
func (o Obj) Strings(key string, dst *[]string, most int) {
	n := o.n.Get(key)
	switch n.Kind {
	case Null:
	case String:
		*dst = []string{n.Text}
	case Array:
		if len(n.Items) > most {
			o.Fail(key, "want at most %d, got %d", most, len(n.Items))
			return
		}
		list := make([]string, 0, len(n.Items))
		for i := range n.Items {
			if n.Items[i].Kind != String {
				o.Fail(fmt.Sprintf("%s[%d]", key, i), "want a string, got %s", n.Items[i].Kind)
				return
			}
			list = append(list, n.Items[i].Text)
		}
		*dst = list
	default:
		o.Fail(key, "want a string or an array of strings, got %s", n.Kind)
	}
}

// Refuse complains about fields that would change the answer if they were honoured. same tells of a value that asks for
// nothing.
func (o Obj) Refuse(same func(*Node) bool, keys ...string) {
	for _, key := range keys {
		if n := o.n.Get(key); n.Kind != Null && !(same != nil && same(n)) {
			o.Fail(key, "is not supported")
		}
	}
}

// NewObj reads the fields of a node that is part of something else. path has a dot at its end, or is empty.
func NewObj(r *Reader, path string, n *Node) Obj { return Obj{r, path, n} }
