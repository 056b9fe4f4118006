// Package engine opens a model for a command: it finds the file and says what is wrong with it, picks the device, sizes
// the engine's limits, binds the weights and makes the tokenizer.
//
//	cfg := engine.Defaults()
//	cfg.Flags(set)
//	…
//	m, err := engine.Open(ctx, cfg, engine.Hooks{})
//	defer m.Close()
//	q, err := m.NewSeq()
//
// A Model embeds the *model.Engine, so its rule holds: one goroutine owns it and everything that came from it.
// The tokenizer may be used from anywhere. Errors are one line, and say what to type next where that helps.
package engine
