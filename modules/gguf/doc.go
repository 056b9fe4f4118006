// Package gguf reads and writes GGUF model files.
package gguf
