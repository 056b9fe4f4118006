// Package model tells DeepSeek V4 Flash once: shape, weights, one layer, one forward over rows, sequences and snapshots.
package model
