// Package cpu runs the model on the host's processors. Its plain loops are the oracle: they compute in the reference's
// order (f32 sums in ascending index, f64 transcendentals rounded once, no fused multiply-add), and every other backend
// is measured against them. Products that feed a sum are written float32(a*b): the conversion forbids the compiler to fuse.
//
// A Backend is owned by one goroutine. Work is divided over threads by output, never within a sum, so the thread count
// changes no bit. Weights stay where Bind was given them, usually the file's map.
package cpu
