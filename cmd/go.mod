module github.com/ds4-go/ds4/cmd

go 1.26

require (
	github.com/ds4-go/ds4/modules/gguf v0.1.0
	github.com/ds4-go/ds4/modules/metal v0.1.0
	github.com/ds4-go/ds4/modules/model v0.1.0
	github.com/ds4-go/ds4/modules/serve v0.1.0
	github.com/ds4-go/ds4/modules/fetch v0.1.0
)

replace (
	github.com/ds4-go/ds4/modules/gguf => ../modules/gguf
	github.com/ds4-go/ds4/modules/metal => ../modules/metal
	github.com/ds4-go/ds4/modules/model => ../modules/model
	github.com/ds4-go/ds4/modules/serve => ../modules/serve
	github.com/ds4-go/ds4/modules/fetch => ../modules/fetch
)
