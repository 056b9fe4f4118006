// Package servetest has what tests of the server need and no model: a small vocabulary, and an engine whose answers are
// written in advance.
//
//	tok := servetest.Tokenizer()
//	eng := servetest.NewEngine(tok, servetest.Limits())
//	eng.Script = func(prompt string) []string { return []string{"Let me ", "see", ".</think>", "Hello!"} }
//
// The engine keeps the books of a real one: sequences, cache pages with copy on write, snapshots, one step for all. So a
// scheduler that loses a page or keeps a sequence is found out, in microseconds.
package servetest
