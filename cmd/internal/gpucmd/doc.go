// Package gpucmd is "ds4 doctor --gpu": it proves the kernels on the GPU of this machine and prints one report.
//
// It compiles every kernel, runs the conformance suite of package backendtest against the CPU's plain loops, and times each
// operation at the real model's widths on random weights. Sizes are bounded (under 1 GiB), memory is looked at first, and
// single dispatches are short, so that the system's watchdog has nothing to say. The suite runs in a process of its own: a
// driver that ends it leaves a report all the same.
package gpucmd
