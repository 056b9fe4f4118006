// Package serve drives the server with the client libraries of OpenAI and Anthropic, streams included: with a fake engine
// that answers by script, and with the demo model in a process of its own.
package serve
