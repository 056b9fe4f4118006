// Package backend is the seam between the one telling of the model and the devices that run it.
//
// The story (package model) calls fourteen operations and a draft head through Backend, in the order of the layer; a
// device package implements them. Nothing here computes. What this package does hold is all that two sides must agree
// on to the byte: shapes, handles, the step block, argument structs, and the layout of cached rows.
//
// Five laws bind every implementation:
//
//  1. Position: a cached row's address is a function of its position (rings pos mod R, pages pos / PageTokens).
//  2. Untouched: a step writes only where nobody looks who stands at a committed length.
//  3. Row: a row's bits depend on that row, its sequence's past and the weights; never on the batch, the chunk, the
//     slot or page numbers or the thread count.
//  4. Tape: calls and arguments are the same for every step of a tape; what varies is in Step.
//  5. Bytes: persistent bytes have one layout on all backends, so a snapshot is a copy and a file is a snapshot.
package backend
