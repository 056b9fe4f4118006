//go:build !linux || !amd64

package metal_test

import "testing"

const simulated = false

func library(testing.TB) string { return "" }
