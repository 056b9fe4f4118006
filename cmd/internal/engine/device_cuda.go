//go:build linux && !cpuonly

package engine

import (
	"os"

	"github.com/ds4-go/ds4/modules/model"
	"github.com/ds4-go/ds4/modules/model/backend"
	"github.com/ds4-go/ds4/modules/model/backend/cuda"
)

// cudaRows keeps the tensor cores busy; twice as many are a tenth faster in long contexts and take 1.5 GiB more.
const cudaRows = 2048

// gpus are the GPU backends, best first. DS4_CUDA_LIBRARY is the path of another libcuda, a stand-in for instance;
// DS4_CUDA_SERIAL=1 waits after every operation, so that a fault names its own.
var gpus = []device{{"cuda", cudaRows,
	func(s model.Shape, l model.Limits, c Config, weights int64) (backend.Backend, error) {
		return cuda.New(s, l, cuda.Options{Library: os.Getenv("DS4_CUDA_LIBRARY"), WeightBytes: weights,
			Serial: os.Getenv("DS4_CUDA_SERIAL") != ""})
	}, cuda.Admit}}
