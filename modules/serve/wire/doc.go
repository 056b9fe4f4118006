// Package wire is what every API of the server has in common on the wire: strict JSON in, JSON and server-sent events out,
// and errors that know both API shapes.
//
// Parse makes a Node of a request body and refuses what a careless parser would let through: repeated keys, bytes that
// are not UTF-8, numbers that are none, anything after the value, nesting without end. Object reads a Node field by field;
// its first complaint names the field as clients write it, such as messages[3].content[1].type. null means absent.
//
// Nothing here knows a model. All types belong to one goroutine.
package wire
