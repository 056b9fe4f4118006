//go:build !cpuonly

package gpucmd

import (
	"github.com/ds4-go/ds4/modules/model/backend"
	"github.com/ds4-go/ds4/modules/model/backend/cuda"
	"github.com/ds4-go/ds4/modules/model/backend/metal"
)

// devices are tried in this order.
var devices = []device{
	{"metal", func(sh backend.Shape, lim backend.Limits) (backend.Backend, error) {
		return metal.New(sh, lim, metal.Options{Library: library})
	}, map[string]float64{"attn_qkv": 4e-3}},
	{"cuda", func(sh backend.Shape, lim backend.Limits) (backend.Backend, error) {
		return cuda.New(sh, lim, cuda.Options{})
	}, map[string]float64{"attn_qkv": 4e-3, "attend": 1e-3}},
}
