// Package draft lets a sequence be ahead of itself: tokens that probably follow are evaluated together with the one that
// does, in one step, and those that the model would have chosen anyway are kept. The text is the same with and without, at
// any temperature: a guess counts only if it is what the sampler draws from the model's own logits, and draws are made for
// tokens that count and no others.
//
//	c := draft.NewController(draft.Options{})
//	t := c.Track(draft.NewLookup(prompt), false)
//	c.Plan([]draft.Ask{{Track: t, Rows: 1, Most: 16, Ctx: n}}, draft.Room{Rows: 128, Outs: 17})
//	guesses := t.Guesses()            // evaluate the token and these, one Want each
//	kept := draft.Walk(guesses, pick) // pick samples row by row
//	t.Verified(kept); t.Accept(tokens...)
//	c.Stepped(rows, ctx, took)
//
// A Drafter guesses from text alone: Lookup what followed the same words before, Replay (for measuring) the truth with errors.
// The model's draft head is run by the engine (model.Engine.Draft) and brings its guesses to the Track.
//
// A Controller decides how many guesses each sequence of a step may have. It knows what a step of so many rows costs on this
// machine, because it is told what each took, and how far the guesses of a sequence come; it takes the depths of the most
// tokens per second, which are none where guessing does not pay. A ledger bounds what being wrong may cost.
//
// Nothing here is safe for concurrent use: all of it belongs to the goroutine that owns the engine.
package draft
