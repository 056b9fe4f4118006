package metal

import (
	"fmt"

	"github.com/ds4-go/ds4/modules/gguf"
	"github.com/ds4-go/ds4/modules/metal"
	"github.com/ds4-go/ds4/modules/metal/kernels"
)

// kernel is an entry point's number, in the order of kernels.Names.
type kernel int

const (
	kProductRows kernel = iota
	kProductTiles
	kProductFloats
	kQuantize
	kEmbed
	kHCMix
	kHCPre
	kHCPost
	kHCSteer
	kLatentKV
	kQHeads
	kKeepRing
	kCompress
	kIndexQueries
	kIndexScores
	kIndexSelect
	kAttendTiles
	kAttendMerge
	kAttendRows
	kAttnOutLow
	kRoute
	kExpertsPlan
	kExpertsSum
	kExpertsGateUp // four types each
	_
	_
	_
	kExpertsDown
	_
	_
	_
	kExpertsGateUpTiles
	_
	_
	_
	kExpertsDownTiles
	_
	_
	_
	kSharedGateUp
	kSharedSwiGLU
	kLogitsRows
	kTopParts
	kTopMerge
	kDraftNorms
	kDraftSum
	kLatentRows
	kQueryHeads
	kAttnOutPost
	kExpertsDownPost
	_
	_
	_
	kCount
)

func (k kernel) String() string { return kernels.Names()[k] }

// expertTypes are in the order of the kernels' names.
var expertTypes = [...]gguf.Type{gguf.TypeIQ2_XXS, gguf.TypeQ2_K, gguf.TypeQ4_K, gguf.TypeMXFP4}

// of is the kernel of an expert type.
func (k kernel) of(t gguf.Type) (kernel, error) {
	for i, u := range expertTypes {
		if u == t {
			return k + kernel(i), nil
		}
	}
	return 0, fmt.Errorf("no kernel for experts of type %v", t)
}

// source is what is compiled; tests plant faults in it.
var source = kernels.Source

// compile makes every pipeline: a second or two, once.
func (b *Backend) compile() error {
	lib, err := b.d.Compile(source(), nil)
	if err != nil {
		return fmt.Errorf("metal: kernels: %w", err)
	}
	defer lib.Release()
	for i, name := range kernels.Names() {
		if b.pipe[i], err = lib.Pipeline(name); err != nil {
			return fmt.Errorf("metal: kernels: %w", err)
		}
		if err := fits(b.pipe[i], b.d.Info().GroupMemoryBytes); err != nil {
			return err
		}
	}
	return nil
}

func fits(p *metal.Pipeline, room int) error {
	if p.SIMDWidth != 32 {
		return fmt.Errorf("metal: kernel %s: want simdgroups of 32, got %d", p.Name, p.SIMDWidth)
	}
	if p.GroupBytes > room {
		return fmt.Errorf("metal: kernel %s: want %d bytes of threadgroup memory, the device has %d", p.Name, p.GroupBytes, room)
	}
	return nil
}
