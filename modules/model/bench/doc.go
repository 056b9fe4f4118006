// Package bench measures how fast an engine is, and how much of what the machine could do that is.
//
//	p, err := bench.Run(ctx, e, bench.Options{Start: 2048, Max: 32768, StepIncr: 2048, Gen: 128, Prompt: tokens})
//	err = bench.WriteCSV(os.Stdout, p.Rows)
//
// A run walks context frontiers: at each it times the tokens since the last one (prefill), then greedy decoding, and goes
// back to the frontier. Only the newest interval is timed, so that a row tells the speed there and not an average.
//
// Decoding one token reads a known number of bytes ([Traffic]): the weights, of the routed experts those that are chosen,
// and the cached rows. Divided by the speed at which the machine reads memory ([ReadSpeed]) that is the least time a token
// can take, and [Row.Share] is how near the engine comes.
//
// Whoever owns the engine owns the run: nothing here starts a goroutine that touches it.
package bench
