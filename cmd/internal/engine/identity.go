package engine

import (
	"github.com/ds4-go/ds4/modules/gguf"
	"github.com/ds4-go/ds4/modules/serve/kvstore"
)

// Identity is whose caches a model file's are, for the disk cache: all programs must agree on it.
func Identity(f *gguf.File) (kvstore.Identity, error) {
	return kvstore.Identify(f, "deepseek-v4/"+checkpoint(f).Name)
}
