module github.com/ds4-go/ds4/modules/gguf

go 1.26
