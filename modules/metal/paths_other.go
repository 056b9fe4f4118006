//go:build !darwin || !arm64

package metal

// There is no Metal here; Options.Library may name a stand-in.
const objcPath, metalPath, systemPath = "", "", ""
