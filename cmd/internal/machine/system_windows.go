package machine

import (
	"os"
	"unsafe"

	"golang.org/x/sys/windows"
)

// memoryStatus is MEMORYSTATUSEX.
type memoryStatus struct {
	length, load                          uint32
	totalPhys, availPhys                  uint64
	totalPageFile, availPageFile          uint64
	totalVirtual, availVirtual, availExtd uint64
}

func memory() (total, free int64) {
	s := memoryStatus{}
	s.length = uint32(unsafe.Sizeof(s))
	ok, _, _ := windows.NewLazySystemDLL("kernel32.dll").NewProc("GlobalMemoryStatusEx").Call(uintptr(unsafe.Pointer(&s)))
	if ok == 0 {
		return 0, 0
	}
	return int64(s.totalPhys), int64(s.availPhys)
}

func cpuName() string { return os.Getenv("PROCESSOR_IDENTIFIER") }
