package machine

import (
	"reflect"
	"runtime"
	"testing"
)

func TestParseNvidia(t *testing.T) {
	got := parseNvidia("NVIDIA H100 80GB HBM3, 81559, 80994, 580.159.03\nNVIDIA GB10, [N/A], [N/A], 580.95\nno gpus were found\n")
	want := []GPU{
		{"NVIDIA H100 80GB HBM3", "cuda", 81559 << 20, 80994 << 20, "580.159.03"},
		{"NVIDIA GB10", "cuda", 0, 0, "580.95"},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("want %+v, got %+v", want, got)
	}
}

func TestLook(t *testing.T) {
	i := Look(t.Context())
	if i.Cores < 1 || i.OS != runtime.GOOS {
		t.Errorf("want this machine, got %+v", i)
	}
	if runtime.GOOS == "linux" && (i.MemoryBytes < 1<<26 || i.FreeBytes < 1 || i.FreeBytes > i.MemoryBytes) {
		t.Errorf("memory: want free below total, got %d of %d", i.FreeBytes, i.MemoryBytes)
	}
}
