// Package gpucmd is "ds4 doctor --gpu": it proves the kernels on the GPU of this machine and prints one report.
//
// It compiles every kernel, runs the conformance suite of package backendtest against the CPU's plain loops, and times each
// operation at the real model's widths on random weights. Sizes are bounded: weights stay under 1 GiB, and memory is looked
// at first. Command buffers are short, so that the system's watchdog has nothing to say: the suite's have at most 130 rows of small
// models, the timings' are cut to about a quarter of a second by what fewer rows took. The suite runs in a process of its own: a
// driver that ends it leaves a report all the same.
package gpucmd
