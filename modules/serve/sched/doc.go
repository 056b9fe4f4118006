// Package sched runs many requests on one engine.
//
// A Scheduler owns the engine: one goroutine makes every call. Each step evaluates one token of every sequence that
// generates, and at most one chunk of prompts, so that a long prompt does not hold up the others. Waiting requests are
// taken from their clients in turn.
//
//	s := sched.New(sched.Config{Engine: sched.Wrap(engine), Sessions: 8})
//	run, err := s.Submit(ctx, &sched.Request{Prompt: …, Guide: …})
//	for {
//		batch, err := run.Next(ctx, nil)
//		…
//	}
//
// A Guide follows one completion: it says what may come next and takes what came. It runs on the engine's goroutine, in
// step with sampling; what it reports flows to the request's reader through a list that is bounded by pausing the
// sequence, so a slow reader holds nobody else up.
//
// Snapshots are kept in a tree over tokens (see tree): a prompt starts from the deepest one that it begins with, be that
// the end of an earlier turn, a message inside it, or the tools that all conversations of one client share. Where the tree
// knows less than the disk, a checkpoint is loaded. What a prompt is started from never changes what comes out.
//
// Caveats. Submit, Next, Save and Do may be called from anywhere; Guides and Snapshots belong to the engine's goroutine.
package sched
