//go:build !linux || !amd64

package main

func main() { panic("needs Linux on amd64") }
