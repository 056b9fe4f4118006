package metal

import (
	"fmt"
	"runtime"
	"strings"
	"sync"
	"unsafe"
)

type (
	id  uintptr // an Objective-C object
	sel uintptr // a registered selector
)

// rt holds the C entry points that everything else is reached through.
var rt struct {
	msgSend, selRegisterName, getClass uintptr
	poolPush, poolPop                  uintptr
	createDevice                       uintptr
	hostSelf, hostStatistics           uintptr // 0: not known
}

var loading struct {
	sync.Mutex
	done bool
}

// load opens the runtime and Metal, or the stand-in at path.
func load(path string) error {
	loading.Lock()
	defer loading.Unlock()
	if loading.done {
		return nil
	}
	objc, mtl, system := objcPath, metalPath, systemPath
	if path != "" {
		objc, mtl, system = path, path, path
	}
	if objc == "" {
		return fmt.Errorf("metal: %w", ErrUnsupported)
	}
	for _, s := range []struct {
		lib, name string
		to        *uintptr
	}{
		{objc, "objc_msgSend", &rt.msgSend},
		{objc, "sel_registerName", &rt.selRegisterName},
		{objc, "objc_getClass", &rt.getClass},
		{objc, "objc_autoreleasePoolPush", &rt.poolPush},
		{objc, "objc_autoreleasePoolPop", &rt.poolPop},
		{mtl, "MTLCreateSystemDefaultDevice", &rt.createDevice},
	} {
		p, err := symbol(s.lib, s.name)
		if err != nil {
			return fmt.Errorf("metal: %s: %w: %w", s.name, err, ErrUnsupported)
		}
		*s.to = p
	}
	rt.hostSelf, _ = symbol(system, "mach_host_self") // free memory: good to know, not necessary
	rt.hostStatistics, _ = symbol(system, "host_statistics64")
	for name, to := range selectors {
		*to = sel(call(rt.selRegisterName, uintptr(unsafe.Pointer(cstr(name)))))
	}
	loading.done = true
	return nil
}

// send is objc_msgSend for integer and pointer arguments. Addresses of Go memory are converted in its argument list, which
// keeps the object alive and in place during the call. Messages to nil return 0, as in Objective-C.
//
//go:uintptrescapes
func (o id) send(s sel, args ...uintptr) uintptr {
	if o == 0 {
		return 0
	}
	var a [8]uintptr
	a[0], a[1] = uintptr(o), uintptr(s)
	n := 2 + copy(a[2:], args)
	return call(rt.msgSend, a[:n]...)
}

//go:uintptrescapes
func (o id) sendID(s sel, args ...uintptr) id { return id(o.send(s, args...)) }

func (o id) release() {
	if o != 0 {
		o.send(selRelease)
	}
}

// responds asks before a selector that older systems lack.
func (o id) responds(s sel) bool { return o != 0 && byte(o.send(selResponds, uintptr(s))) != 0 }

func class(name string) id {
	return id(call(rt.getClass, uintptr(unsafe.Pointer(cstr(name)))))
}

// pooled runs f inside an autorelease pool, on one thread.
func pooled(f func()) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	p := call(rt.poolPush)
	defer func() { call(rt.poolPop, p) }()
	f()
}

func cstr(s string) *byte {
	b := make([]byte, len(s)+1)
	copy(b, s)
	return &b[0]
}

// nsString is a new string; the caller releases it.
func nsString(s string) id {
	return class("NSString").sendID(selAlloc).sendID(selInitUTF8, uintptr(unsafe.Pointer(cstr(strings.ReplaceAll(s, "\x00", " ")))))
}

// pointer turns an address that C returned into a pointer: it is not Go memory.
func pointer(addr uintptr) unsafe.Pointer { return *(*unsafe.Pointer)(unsafe.Pointer(&addr)) }

func goString(s id) string {
	addr := s.send(selUTF8String)
	if addr == 0 {
		return ""
	}
	p, n := pointer(addr), 0
	for *(*byte)(unsafe.Add(p, n)) != 0 {
		n++
	}
	return string(unsafe.Slice((*byte)(p), n))
}

// errorText is an NSError's description.
func errorText(e id) string {
	if e == 0 {
		return "no reason given"
	}
	return goString(e.sendID(selLocalizedDescription))
}
