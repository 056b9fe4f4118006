//go:build cpuonly || !(darwin || linux) || !(arm64 || amd64)

package metal

func symbol(string, string) (uintptr, error) { return 0, ErrUnsupported }

func call(uintptr, ...uintptr) uintptr { return 0 }

func (o id) sendFloat(sel) float64 { return 0 }
