package metal_test

import (
	"errors"
	"os"
	"testing"

	"github.com/ds4-go/ds4/modules/metal/standin"
)

const simulated = true

// library is the stand-in's path, or none: New says then that there is no Metal. DS4_METAL_LIBRARY names another, which runs the
// kernels on an NVIDIA card (modules/metal/standin/cuda).
func library(t testing.TB) string {
	t.Helper()
	if path := os.Getenv("DS4_METAL_LIBRARY"); path != "" {
		return path
	}
	path, err := standin.Build()
	if err != nil && !errors.Is(err, standin.ErrNoCompiler) {
		t.Fatal(err)
	}
	return path
}
