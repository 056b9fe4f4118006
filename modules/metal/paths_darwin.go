//go:build arm64

package metal

const (
	objcPath  = "/usr/lib/libobjc.A.dylib"
	metalPath = "/System/Library/Frameworks/Metal.framework/Metal"

	systemPath = "/usr/lib/libSystem.B.dylib"
)
