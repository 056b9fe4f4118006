package gpucmd

import "golang.org/x/sys/unix"

func systemVersion() string {
	v, err := unix.Sysctl("kern.osproductversion")
	if err != nil {
		return ""
	}
	return ", macOS " + v
}
