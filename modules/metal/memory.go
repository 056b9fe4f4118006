package metal

import (
	"os"
	"unsafe"
)

// vmStatistics is vm_statistics64 of the Mach headers: counts of pages. What is not named is not used.
type vmStatistics struct {
	free                   uint32
	_                      [3]uint32 // active, inactive, wired
	_                      [9]uint64
	purgeable, speculative uint32
	_                      [4]uint64
	_                      [2]uint32 // compressor, throttled
	external               uint32
	_                      uint32 // internal
	_                      uint64
}

const hostVMInfo64 = 4

// Available is the memory, in bytes, that the system can give without paging other programs out: free pages, those that only
// cache files, and what their owners let go. 0 means that the system does not say.
func (d *Device) Available() uint64 {
	if rt.hostStatistics == 0 || rt.hostSelf == 0 {
		return 0
	}
	var v vmStatistics
	n := uint32(unsafe.Sizeof(v) / 4)
	if hostStatistics(uintptr(unsafe.Pointer(&v)), uintptr(unsafe.Pointer(&n))) != 0 {
		return 0
	}
	// free counts pages read ahead of need, external counts them too
	pages := uint64(v.free) - min(uint64(v.speculative), uint64(v.free)) + uint64(v.external) + uint64(v.purgeable)
	return pages * uint64(os.Getpagesize())
}

// hostStatistics returns a kern_return_t.
//
//go:uintptrescapes
func hostStatistics(v, n uintptr) int32 {
	return int32(call(rt.hostStatistics, call(rt.hostSelf), hostVMInfo64, v, n))
}
