package metal

import "unsafe"

// SendUnknown sends a message that no object has.
func SendUnknown(d *Device) {
	s := sel(call(rt.selRegisterName, uintptr(unsafe.Pointer(cstr("frobnicate")))))
	d.dev.send(s)
}
