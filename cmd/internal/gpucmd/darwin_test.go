package gpucmd

import (
	"debug/macho"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestDarwin builds the command for Macs: no cgo, signed (ad hoc, by Go's linker), nothing linked but the system's libraries.
func TestDarwin(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the command for another system")
	}
	path := filepath.Join(t.TempDir(), "ds4")
	cmd := exec.Command("go", "build", "-o", path, "github.com/ds4-go/ds4/cmd/ds4")
	cmd.Env = append(os.Environ(), "GOOS=darwin", "GOARCH=arm64", "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	vet := exec.Command("go", "vet", "github.com/ds4-go/ds4/modules/metal/...", "github.com/ds4-go/ds4/modules/model/backend/metal", "github.com/ds4-go/ds4/cmd/internal/engine")
	vet.Env = cmd.Env
	if out, err := vet.CombinedOutput(); err != nil {
		t.Errorf("vet: %v: %s", err, out)
	}
	f, err := macho.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	libs, err := f.ImportedLibraries()
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range libs {
		if !strings.HasPrefix(l, "/usr/lib/") && !strings.HasPrefix(l, "/System/Library/") {
			t.Errorf("links %s, which is not the system's", l)
		}
	}
	const codeSignature = 0x1d // LC_CODE_SIGNATURE
	signed := false
	for _, l := range f.Loads {
		signed = signed || f.ByteOrder.Uint32(l.Raw()) == codeSignature
	}
	if !signed {
		t.Error("not signed: macOS does not start it on arm64")
	}
	t.Logf("links %v", libs)
}
