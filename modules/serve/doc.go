// Package serve speaks the OpenAI and Anthropic APIs in front of a model.
//
//	m := serve.NewMetrics()
//	sc := sched.New(sched.Config{Engine: sched.Wrap(engine), Metrics: m})
//	s, err := serve.New(serve.Config{Scheduler: sc, Tokenizer: tok, Ctx: ctx, Metrics: m})
//	http.Serve(listener, s)
//
// A request is read on its connection's goroutine: strict JSON (package wire) into a completion, whatever the endpoint;
// rendered and tokenised (prompts); and queued (package sched). What comes back are chat events, which each endpoint writes
// in its own shape, at once as a stream or at the end as one object. A guide follows each completion on the engine's
// goroutine, in step with sampling, since only what was parsed tells when a turn is over.
//
// Files: server, call, auth are what all endpoints share; run is a completion from submission to its end; chat, completions,
// messages, responses read requests, and those named _out write answers. Nothing here knows a tensor.
//
// Two memories make a client's next request begin where the last one ended: prompts keeps the tokens that were written for
// a text, replay the call blocks behind the JSON of tool calls. Neither changes what a prompt says.
//
// Caveats. A Server may be used from any goroutine. Close the scheduler after the HTTP server, and before the engine. The
// responses that previous_response_id goes on from are kept in memory, and end with the process.
package serve
