package metal_test

import (
	"errors"
	"testing"

	"github.com/ds4-go/ds4/modules/metal/standin"
)

const simulated = true

// library is the stand-in's path, or none: New says then that there is no Metal.
func library(t testing.TB) string {
	t.Helper()
	path, err := standin.Build()
	if err != nil && !errors.Is(err, standin.ErrNoCompiler) {
		t.Fatal(err)
	}
	return path
}
