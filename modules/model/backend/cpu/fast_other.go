//go:build !amd64

package cpu

func machineVariants() []string { return nil }

func newVariant(name string) *variant { return &variant{name: name} }
