// Package metal runs the model's operations on an Apple GPU, through modules/metal.
//
//	b, err := metal.New(shape, limits, metal.Options{WeightBytes: size})
//
// Weights are never copied: Bind notes where a tensor lies in the file's map, and the first step wraps the map's pages in
// buffers, as few as the device's longest buffer allows. A step is one command buffer of concurrent dispatches with barriers
// between those that depend; steps of many rows are cut at layers, so that the watchdog and a cancellation are met in time.
// What changes from step to step lies in one block, so the dispatches of a short step are the same for every token.
//
// Activations are rounded to int8 as the CPU does, at every row count; sums are taken in one order by the kernels of few and
// of many rows (kernels/product.metal). A row's bits therefore depend on nothing but the row.
//
// Memory is shared with the CPU: Write, Copy and Read are plain copies while nothing runs, which is always so outside a step.
// The page pool is a reservation of addresses that grows: a buffer over a longer part of it replaces the one before.
//
// Limits beyond the seam's: heads a multiple of 8 and of 32 components up to 512, at most 2048 experts and a vocabulary of
// 131,072; gate and up of one type. One goroutine owns a Backend, and it stays on one thread from Begin to Wait.
package metal
