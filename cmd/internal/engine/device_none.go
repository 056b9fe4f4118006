//go:build cpuonly || !(linux || (darwin && arm64))

package engine

// gpus is empty in builds that must not need a shared library, and for systems without a backend.
var gpus []device
