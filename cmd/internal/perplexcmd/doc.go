// Package perplexcmd is "ds4 perplexity": it scores a text by a model, each token after the true ones before it. Lower is
// better: e to the mean of the negative log-probabilities is the number of tokens among which the model wavers.
//
// A file is plain text, or, with --chat, conversations in the model's own template, special tokens spelled out. Each then
// begins with the token that begins a text, and what the assistant wrote is scored: all from its first word, reasoning
// included, to the token that ends its turn.
package perplexcmd
