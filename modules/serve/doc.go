// Package serve speaks the OpenAI and Anthropic APIs in front of a model.
package serve
