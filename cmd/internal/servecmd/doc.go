// Package servecmd is "ds4 serve", and ds4-server: a model behind the OpenAI and Anthropic APIs.
//
// It reads the flags and wires what modules/serve has: the engine of package engine, the scheduler, the disk cache, the HTTP
// server. A first signal stops new requests, lets those that run finish within --grace, stores what is worth it, and ends
// with code 0; a second one ends at once.
package servecmd
