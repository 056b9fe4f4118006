// Package constrain keeps a model's text inside a grammar: JSON, or JSON of a schema.
//
// A Grammar is a program over bytes with calls, as recursive as JSON is. A Matcher runs it along the tokens of a
// completion and says which tokens may come next: those whose bytes go on with something the grammar allows. Sets of
// places in the program become states that are made once, with the mask of each, so that after the first words of a
// text a mask is a lookup.
//
//	v := constrain.NewVocab(tok)             // once
//	g, err := constrain.Schema(raw)          // or constrain.JSON()
//	m := g.Matcher(v)
//	m.Mask()                                 // a bit per token; the end of the turn where the text may end
//	m.Accept(id)
//
// White space between values is bounded, because a model that may write it without end sometimes does.
// A Vocab and a Grammar may be shared between goroutines; a Matcher belongs to one.
package constrain
