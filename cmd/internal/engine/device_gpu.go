//go:build !cpuonly

package engine

// gpus are the GPU backends, best first: one line each, {"name", rows of a step, open}.
var gpus []device
