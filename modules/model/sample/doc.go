// Package sample chooses the next token from a row of logits: temperature, top-k, top-p, min-p, penalties, logit bias.
//
// The order is ds4's: biases and penalties on the logits, then temperature, then top-k, then min-p relative to the best and
// top-p together. A backend returns the best 128 candidates of a row; mostly they decide. Where they cannot (a flat
// distribution with nothing cut), the whole row is read and the same rule applied, so the choice never depends on the road.
package sample
