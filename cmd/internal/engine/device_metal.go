//go:build darwin && arm64 && !cpuonly

package engine

import (
	"github.com/ds4-go/ds4/modules/model"
	"github.com/ds4-go/ds4/modules/model/backend"
	"github.com/ds4-go/ds4/modules/model/backend/metal"
)

// metalRows keep a step short enough for a progress line to move, and for the system to draw between two of them.
const metalRows = 512

// gpus are the GPU backends, best first.
var gpus = []device{{"metal", metalRows,
	func(s model.Shape, l model.Limits, c Config, weights int64) (backend.Backend, error) {
		return metal.New(s, l, metal.Options{WeightBytes: weights})
	}, nil}}
