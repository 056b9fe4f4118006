module github.com/ds4-go/ds4/modules/serve

go 1.26

require (
	github.com/ds4-go/ds4/modules/model v0.1.0
	github.com/ds4-go/ds4/modules/gguf v0.1.0
	github.com/ds4-go/ds4/modules/metal v0.1.0
)

replace (
	github.com/ds4-go/ds4/modules/model => ../model
	github.com/ds4-go/ds4/modules/gguf => ../gguf
	github.com/ds4-go/ds4/modules/metal => ../metal
)
