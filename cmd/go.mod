module github.com/ds4-go/ds4/cmd

go 1.26.0

require (
	github.com/ds4-go/ds4/modules/fetch v0.1.0
	github.com/ds4-go/ds4/modules/gguf v0.1.0
	github.com/ds4-go/ds4/modules/metal v0.1.0
	github.com/ds4-go/ds4/modules/model v0.1.0
	github.com/ds4-go/ds4/modules/serve v0.1.0
	github.com/rs/zerolog v1.35.1
	github.com/schollz/progressbar/v3 v3.19.1
	golang.org/x/sys v0.49.0
	golang.org/x/term v0.47.0
)

require (
	github.com/beorn7/perks v1.0.1 // indirect
	github.com/cespare/xxhash/v2 v2.3.0 // indirect
	github.com/ebitengine/purego v0.11.3 // indirect
	github.com/julienschmidt/httprouter v1.3.0 // indirect
	github.com/munnerz/goautoneg v0.0.0-20191010083416-a7dc8b61c822 // indirect
	github.com/prometheus/client_golang v1.25.0 // indirect
	github.com/prometheus/client_model v0.6.3 // indirect
	github.com/prometheus/common v0.72.0 // indirect
	github.com/prometheus/procfs v0.22.0 // indirect
	google.golang.org/protobuf v1.36.12 // indirect
)

require (
	github.com/creack/pty v1.1.24
	github.com/mattn/go-colorable v0.1.14 // indirect
	github.com/mattn/go-isatty v0.0.22 // indirect
	github.com/mitchellh/colorstring v0.0.0-20190213212951-d06e56a500db // indirect
	github.com/rivo/uniseg v0.4.7 // indirect
)

replace (
	github.com/ds4-go/ds4/modules/fetch => ../modules/fetch
	github.com/ds4-go/ds4/modules/gguf => ../modules/gguf
	github.com/ds4-go/ds4/modules/metal => ../modules/metal
	github.com/ds4-go/ds4/modules/model => ../modules/model
	github.com/ds4-go/ds4/modules/serve => ../modules/serve
)
