// Package model tells DeepSeek V4 Flash once: its shape, its weights, one layer, one forward over rows, and the
// sequences and snapshots whose rows they are.
//
//	f, _ := gguf.Open("ds4flash.gguf")
//	sh, _ := model.ReadShape(f)
//	b, _ := cpu.New(sh, lim, cpu.Options{})
//	w, _ := model.Load(f, sh, b, nil)
//	e, _ := model.New(b, w, sh, lim, model.Options{})
//	q, _ := e.NewSeq()
//	jobs := []model.Job{{Seq: q, Tokens: prompt, Wants: []model.Want{{Row: len(prompt) - 1}}}}
//	_ = e.Run(ctx, jobs)
//	next := jobs[0].Top(0).ID(0)
//	jobs[0].Keep(len(prompt))
//
// Decode, prefill, batches and draft checks are the same call: a Job is a run of tokens of one sequence, and Run takes
// any number of them. Nothing has happened to a sequence before Keep. A sequence's state is its length: rows that are
// not kept, a step that fails or is cancelled, and a Rewind within the slack need no undo.
//
// One goroutine owns an Engine with everything that came from it. Only Snapshot.Wait, and the done callbacks of reads,
// may run elsewhere.
package model
