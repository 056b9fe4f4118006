//go:build cpuonly

package engine

// gpus is empty in builds that must not need a shared library.
var gpus []device
