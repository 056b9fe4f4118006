// Package cuda runs the model on an NVIDIA card through the driver API: no cgo, no toolkit, kernels travel as PTX text.
//
//	b, err := cuda.New(shape, limits, cuda.Options{})
//
// Backend is owned by one goroutine. Weights are uploaded through a ring of pinned memory and repacked on the card into
// tiles in the order of its matrix instructions (kernels/tiles.cuh), so that one row and a long prompt read the same bytes.
//
// Precision: products with quantised weights are the oracle's, int8 activations with exact block sums; F16 weights meet
// activations split into two f16 pieces; attention rounds queries and weights to f16. Sums have one order for every row
// count, so a row's bits do not depend on the batch.
//
// Steps of up to 32 rows are captured as graphs, one a bucket of rows and tape, once the same calls came twice. Longer steps
// launch directly. docs/cuda.md tells the layouts and what was measured.
package cuda
