module github.com/ds4-go/ds4/modules/metal

go 1.26

require github.com/ebitengine/purego v0.11.3
