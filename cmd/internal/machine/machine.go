package machine

import (
	"context"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/cpu"
)

// Info is what was found. Zero means that the system did not say.
type Info struct {
	OS          string   `json:"os"`
	Arch        string   `json:"arch"`
	CPU         string   `json:"cpu"`
	Cores       int      `json:"cores"`
	SIMD        []string `json:"simd"` // what kernels may use, narrowest first
	MemoryBytes int64    `json:"memory_bytes"`
	FreeBytes   int64    `json:"free_bytes"` // what a new program could take
	GPUs        []GPU    `json:"gpus"`
}

// GPU is a graphics processor.
type GPU struct {
	Name        string `json:"name"`
	API         string `json:"api"` // cuda or metal
	MemoryBytes int64  `json:"memory_bytes"`
	FreeBytes   int64  `json:"free_bytes"`
	Driver      string `json:"driver,omitempty"`
}

// Look asks the system.
func Look(ctx context.Context) Info {
	total, free := memory()
	return Info{OS: runtime.GOOS, Arch: runtime.GOARCH, CPU: cpuName(), Cores: runtime.NumCPU(), SIMD: simd(),
		MemoryBytes: total, FreeBytes: free, GPUs: append(nvidia(ctx), integrated(total)...)}
}

// Memory is the machine's memory and what a new program could take of it, in bytes; zero: the system did not say.
func Memory() (total, free int64) { return memory() }

func simd() []string {
	out := []string{}
	for _, f := range []struct {
		name string
		has  bool
	}{
		{"avx2", cpu.X86.HasAVX2 && cpu.X86.HasFMA},
		{"avx512", cpu.X86.HasAVX512F && cpu.X86.HasAVX512BW && cpu.X86.HasAVX512VL},
		{"avx512-vnni", cpu.X86.HasAVX512VNNI},
		{"neon", cpu.ARM64.HasASIMD || runtime.GOOS == "darwin" && runtime.GOARCH == "arm64"},
		{"dotprod", cpu.ARM64.HasASIMDDP || runtime.GOOS == "darwin" && runtime.GOARCH == "arm64"},
	} {
		if f.has {
			out = append(out, f.name)
		}
	}
	return out
}

// nvidia asks the driver's own tool, which comes with every driver.
func nvidia(ctx context.Context) []GPU {
	ctx, stop := context.WithTimeout(ctx, 5*time.Second)
	defer stop()
	out, err := exec.CommandContext(ctx, "nvidia-smi", "--query-gpu=name,memory.total,memory.free,driver_version", "--format=csv,noheader,nounits").Output()
	if err != nil {
		return nil // no tool, no driver
	}
	return parseNvidia(string(out))
}

// parseNvidia reads lines of "name, MiB, MiB, version".
func parseNvidia(s string) []GPU {
	var list []GPU
	for line := range strings.Lines(s) {
		f := strings.Split(line, ",")
		if len(f) != 4 {
			continue
		}
		for i := range f {
			f[i] = strings.TrimSpace(f[i])
		}
		total, _ := strconv.ParseInt(f[1], 10, 64) // "[N/A]" on some boards: unknown
		free, _ := strconv.ParseInt(f[2], 10, 64)
		list = append(list, GPU{Name: f[0], API: "cuda", MemoryBytes: total << 20, FreeBytes: free << 20, Driver: f[3]})
	}
	return list
}

// integrated is the GPU of Apple's chips, which shares the memory.
func integrated(total int64) []GPU {
	if runtime.GOOS != "darwin" || runtime.GOARCH != "arm64" {
		return nil
	}
	return []GPU{{Name: cpuName(), API: "metal", MemoryBytes: total}}
}
