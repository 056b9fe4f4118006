module github.com/ds4-go/ds4/cmd

go 1.26.0

require (
	github.com/ds4-go/ds4/modules/fetch v0.1.0
	github.com/ds4-go/ds4/modules/gguf v0.1.0
	github.com/ds4-go/ds4/modules/model v0.1.0
	github.com/ds4-go/ds4/modules/serve v0.1.0
	github.com/rs/zerolog v1.35.1
	golang.org/x/term v0.47.0
)

require (
	github.com/mattn/go-colorable v0.1.14 // indirect
	github.com/mattn/go-isatty v0.0.20 // indirect
	golang.org/x/sys v0.49.0 // indirect
)

replace (
	github.com/ds4-go/ds4/modules/fetch => ../modules/fetch
	github.com/ds4-go/ds4/modules/gguf => ../modules/gguf
	github.com/ds4-go/ds4/modules/metal => ../modules/metal
	github.com/ds4-go/ds4/modules/model => ../modules/model
	github.com/ds4-go/ds4/modules/serve => ../modules/serve
)
