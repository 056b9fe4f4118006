// Package serve drives the server with the client libraries of OpenAI and Anthropic, streams included.
package serve
