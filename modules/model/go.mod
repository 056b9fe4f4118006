module github.com/ds4-go/ds4/modules/model

go 1.26.0

require (
	github.com/ds4-go/ds4/modules/gguf v0.1.0
	github.com/ds4-go/ds4/modules/metal v0.1.0
)

require github.com/ebitengine/purego v0.11.3

require golang.org/x/sys v0.49.0

replace (
	github.com/ds4-go/ds4/modules/gguf => ../gguf
	github.com/ds4-go/ds4/modules/metal => ../metal
)
