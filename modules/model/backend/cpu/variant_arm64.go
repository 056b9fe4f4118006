package cpu

import (
	"runtime"

	"golang.org/x/sys/cpu"
)

// machineVariants are the kernel sets that this machine can run. neon wants the dot product of ARMv8.2.
func machineVariants() []variant {
	if !cpu.ARM64.HasASIMDDP && runtime.GOOS != "darwin" { // every Apple M has it, and says so nowhere that x/sys looks
		return nil
	}
	return []variant{{name: "neon", lanes: 4, tile: 8, kernels: neonKernels}}
}
