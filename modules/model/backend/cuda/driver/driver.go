package driver

import (
	"errors"
	"fmt"
	"sync/atomic"
	"unsafe"
)

// ErrUnsupported is returned where there is no driver or no device.
var ErrUnsupported = errors.New("not supported on this machine")

// Ptr is an address in device memory.
type Ptr uintptr

// Handles of the driver's objects.
type (
	Module   uintptr
	Function uintptr
	Stream   uintptr
	Event    uintptr
	Graph    uintptr // instantiated
)

// Error is a failed call.
type Error struct {
	Call string
	Code int
	Text string
}

func (e *Error) Error() string { return fmt.Sprintf("%s: error %d: %s", e.Call, e.Code, e.Text) }

// OutOfMemory says that the device had no room.
func (e *Error) OutOfMemory() bool { return e.Code == 2 }

// Lost says that the context is beyond use: a kernel faulted, or the device fell off.
func (e *Error) Lost() bool {
	switch e.Code {
	case 4, 46, 101, 201, 214, 220, 226, 700, 702, 709, 710, 714, 715, 716, 717, 718, 719, 999:
		return true
	}
	return false
}

// Device describes a card.
type Device struct {
	Name         string
	Major, Minor int // compute capability
	SMs          int // multiprocessors
	SharedBytes  int // shared memory that one block may have
}

// Driver is libcuda with one device's primary context.
type Driver struct {
	fn     [len(names)]uintptr
	dev    int32
	ctx    uintptr
	info   Device
	config launchConfig
	params [1]uintptr
	attr   launchAttr
}

// Indices of the entry points, in the order of names.
const (
	cuInit = iota
	cuDeviceGetCount
	cuDeviceGet
	cuDeviceGetName
	cuDeviceGetAttribute
	cuDevicePrimaryCtxRetain
	cuDevicePrimaryCtxRelease
	cuCtxSetCurrent
	cuModuleLoadDataEx
	cuModuleUnload
	cuModuleGetFunction
	cuFuncSetAttribute
	cuLaunchKernelEx
	cuStreamCreate
	cuStreamDestroy
	cuStreamSynchronize
	cuStreamWaitEvent
	cuStreamBeginCapture
	cuStreamEndCapture
	cuGraphInstantiate
	cuGraphDestroy
	cuGraphExecDestroy
	cuGraphLaunch
	cuEventCreate
	cuEventDestroy
	cuEventRecord
	cuEventSynchronize
	cuEventQuery
	cuEventElapsedTime
	cuMemGetInfo
	cuMemAlloc
	cuMemFree
	cuMemHostAlloc
	cuMemFreeHost
	cuMemcpyHtoDAsync
	cuMemcpyDtoHAsync
	cuMemcpyDtoDAsync
	cuMemsetD8Async
	cuMemAddressReserve
	cuMemAddressFree
	cuMemCreate
	cuMemRelease
	cuMemMap
	cuMemUnmap
	cuMemSetAccess
	cuGetErrorString
)

var names = [...]string{
	"cuInit", "cuDeviceGetCount", "cuDeviceGet", "cuDeviceGetName", "cuDeviceGetAttribute",
	"cuDevicePrimaryCtxRetain", "cuDevicePrimaryCtxRelease_v2", "cuCtxSetCurrent",
	"cuModuleLoadDataEx", "cuModuleUnload", "cuModuleGetFunction", "cuFuncSetAttribute", "cuLaunchKernelEx",
	"cuStreamCreate", "cuStreamDestroy_v2", "cuStreamSynchronize", "cuStreamWaitEvent", "cuStreamBeginCapture_v2", "cuStreamEndCapture",
	"cuGraphInstantiateWithFlags", "cuGraphDestroy", "cuGraphExecDestroy", "cuGraphLaunch",
	"cuEventCreate", "cuEventDestroy_v2", "cuEventRecord", "cuEventSynchronize", "cuEventQuery", "cuEventElapsedTime",
	"cuMemGetInfo_v2", "cuMemAlloc_v2", "cuMemFree_v2", "cuMemHostAlloc", "cuMemFreeHost",
	"cuMemcpyHtoDAsync_v2", "cuMemcpyDtoHAsync_v2", "cuMemcpyDtoDAsync_v2", "cuMemsetD8Async",
	"cuMemAddressReserve", "cuMemAddressFree", "cuMemCreate", "cuMemRelease", "cuMemMap", "cuMemUnmap", "cuMemSetAccess",
	"cuGetErrorString",
}

// Open loads libcuda (from path, or where systems keep it) and takes the device's primary context.
func Open(path string, device int) (*Driver, error) {
	d := &Driver{}
	if err := load(path, names[:], d.fn[:]); err != nil {
		return nil, err
	}
	if err := d.do(cuInit, 0); err != nil {
		return nil, fmt.Errorf("driver: %w: %w", err, ErrUnsupported)
	}
	n := new(int32)
	if err := d.do(cuDeviceGetCount, ptr(n)); err != nil {
		return nil, fmt.Errorf("driver: %w: %w", err, ErrUnsupported)
	}
	if device < 0 || device >= int(*n) {
		return nil, fmt.Errorf("driver: device: want 0 to %d, got %d: %w", *n-1, device, ErrUnsupported)
	}
	if err := d.open(device); err != nil {
		return nil, fmt.Errorf("driver: %w", err)
	}
	return d, nil
}

func (d *Driver) open(device int) error {
	if err := d.do(cuDeviceGet, ptr(&d.dev), uintptr(device)); err != nil {
		return err
	}
	name := make([]byte, 128)
	if err := d.do(cuDeviceGetName, ptr(&name[0]), uintptr(len(name)), uintptr(d.dev)); err != nil {
		return err
	}
	d.info.Name = cString(uintptr(unsafe.Pointer(&name[0])))
	for _, a := range []struct {
		id  int
		dst *int
	}{{16, &d.info.SMs}, {75, &d.info.Major}, {76, &d.info.Minor}, {97, &d.info.SharedBytes}} {
		v := new(int32)
		if err := d.do(cuDeviceGetAttribute, ptr(v), uintptr(a.id), uintptr(d.dev)); err != nil {
			return err
		}
		*a.dst = int(*v)
	}
	if err := d.do(cuDevicePrimaryCtxRetain, ptr(&d.ctx), uintptr(d.dev)); err != nil {
		return err
	}
	return d.Use()
}

// Device describes the card.
func (d *Driver) Device() Device { return d.info }

// Use makes the context current on this thread.
func (d *Driver) Use() error { return d.do(cuCtxSetCurrent, d.ctx) }

// Close gives the context back. Everything in it is gone.
func (d *Driver) Close() error { return d.do(cuDevicePrimaryCtxRelease, uintptr(d.dev)) }

// Memory returns free and total bytes of the device.
func (d *Driver) Memory() (free, total int64, err error) {
	v := new([2]uint64)
	err = d.do(cuMemGetInfo, ptr(&v[0]), ptr(&v[1]))
	return int64(v[0]), int64(v[1]), err
}

func (d *Driver) do(fn int, args ...uintptr) error {
	if r := call(d.fn[fn], args...); r != 0 {
		return d.fail(fn, int(r))
	}
	return nil
}

func (d *Driver) fail(fn, code int) error {
	text := new(uintptr)
	call(d.fn[cuGetErrorString], uintptr(code), ptr(text))
	return &Error{names[fn], code, cString(*text)}
}

// ptr is the address of a value that must live on the heap: storing it makes it escape. Callers use the value after the
// call, which keeps it reachable until then.
func ptr[T any](p *T) uintptr {
	sink.Store((*byte)(unsafe.Pointer(p)))
	return uintptr(unsafe.Pointer(p))
}

var sink atomic.Pointer[byte]

func cString(a uintptr) string {
	if a == 0 {
		return ""
	}
	p := *(*unsafe.Pointer)(unsafe.Pointer(&a))
	n := 0
	for *(*byte)(unsafe.Add(p, n)) != 0 {
		n++
	}
	return string(unsafe.Slice((*byte)(p), n))
}
