// Package chatcmd is ds4 without a command: one answer to a prompt, or a conversation in the terminal; and what the same
// flags ask for besides: the tokens of a prompt, log-probabilities, perplexity.
//
// A session is one sequence of the engine and the token list it should hold. Every turn appends to the list, and the
// sequence follows: it keeps the longest common prefix and evaluates the rest.
//
// # Saved conversations
//
// /save writes JSON, /load reads it:
//
//	{
//	  "format": "ds4-chat", "version": 1,
//	  "model": "…",           general.name of the model, for people
//	  "vocabulary": 129280,   number of tokens; with another, the answers' texts are encoded anew
//	  "system": "…",
//	  "turns": [{"user": "…", "thinking": "none", "answer": "…", "tokens": [ … ]}, …]
//	}
//
// thinking is none, default, low, high or max. answer is what the model wrote, reasoning and </think> included, without
// the token that ends it; tokens are the same and count where both are there.
package chatcmd
