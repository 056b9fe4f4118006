// Package driver is a thin binding of the CUDA driver API, without cgo and without a toolkit: libcuda is opened at run time.
// It knows no model. Driver holds the entry points and one device's primary context; Ptr is an address on the device.
//
// A context is current per operating-system thread: whoever calls a Driver has locked its goroutine to a thread and called
// Use on it. Built with the tag cpuonly, or on a system without a binding, Open returns ErrUnsupported.
package driver
