//go:build !amd64 && !arm64

package cpu

func machineVariants() []variant { return nil }
