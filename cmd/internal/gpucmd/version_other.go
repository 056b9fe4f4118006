//go:build !darwin

package gpucmd

func systemVersion() string { return "" }
