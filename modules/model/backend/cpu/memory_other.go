//go:build !unix

package cpu

func alloc(n int) ([]byte, error) { return make([]byte, n), nil }

func free([]byte) error { return nil }
