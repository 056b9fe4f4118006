package cuda

import (
	_ "embed"
	"fmt"
	"unsafe"

	"github.com/ds4-go/ds4/modules/gguf"
	"github.com/ds4-go/ds4/modules/model/backend/cuda/driver"
)

// The module, compiled from kernels/*.cu by generate.sh: for every card from 8.0 on, and for those from 9.0 on, which start
// a launch while the one ahead of it ends.
var (
	//go:embed kernels/sm_80.ptx
	ptx80 []byte
	//go:embed kernels/sm_90.ptx
	ptx90 []byte
)

// kernel is a kernel's number.
type kernel int

const (
	kRopeTable kernel = iota
	kEmbed
	kQuantize
	kHCMix
	kHCPre
	kSteer
	kHCPost
	kHCPostMix
	kLatents
	kQHeads
	kKeepRing
	kCompressEmit
	kIndexQueries
	kIndexScores
	kIndexScoresMany
	kIndexSelect
	kAttendTiles
	kAttendMerge
	kAttendRows
	kAttendWide
	kRoute
	kRouteFew
	kExpertsPlan
	kExpertsSum
	kSwiglu
	kDraftNorms
	kDraftJoin
	kTopParts
	kTopMerge
	kRepack
	kMatmulQ8Few8
	kMatmulQ8Few8Post
	kFront
	kFrontRest
	kMatmulQ8Few16
	kMatmulQ8Few32
	kMatmulF16Few8
	kMatmulF16Few32
	kMatmulQ8Many
	kMatmulF16Many
	kMatmulF32
	kExperts                 // × type, gate_up or down, few or many
	kFFN     = kExperts + 16 // × type, up or down, one or few
	kCount   = kFFN + 16
)

// expertTypes are the types of kExperts, in the order of its numbers.
var expertTypes = [4]gguf.Type{gguf.TypeIQ2_XXS, gguf.TypeQ2_K, gguf.TypeQ4_K, gguf.TypeMXFP4}

func kernelNames() [kCount]string {
	n := [kCount]string{"rope_table", "embed", "quantize", "hc_mix", "hc_pre", "steer", "hc_post", "hc_post_mix", "attn_qkv_latents", "q_heads", "keep_ring",
		"compress_emit", "index_queries", "index_scores", "index_scores_many", "index_select", "attend_tiles", "attend_merge", "attend_rows", "attend_wide", "route", "route_few",
		"experts_plan", "experts_sum", "swiglu_quantize", "draft_norms", "draft_join", "top_parts", "top_merge", "repack",
		"matmul_q8_0_few8", "matmul_q8_0_few8_post", "front", "front_rest", "matmul_q8_0_few16", "matmul_q8_0_few32", "matmul_f16_few8", "matmul_f16_few32",
		"matmul_q8_0_many", "matmul_f16_many", "matmul_f32"}
	for i, typ := range expertTypes {
		t := typ.String()
		for j, part := range []string{"gate_up", "down"} {
			for k, class := range []string{"few", "many"} {
				n[int(kExperts)+4*i+2*j+k] = "experts_" + part + "_" + t + "_" + class
			}
		}
		for j, name := range []string{"ffn_up_" + t + "_one", "ffn_up_" + t + "_few", "ffn_down_" + t + "_one", "ffn_down_" + t + "_few"} {
			n[int(kFFN)+4*i+j] = name
		}
	}
	return n
}

// loadKernels compiles the module and finds every kernel.
func (b *Backend) loadKernels() error {
	text := ptx80
	if b.dev.Major >= 9 {
		text = ptx90
	}
	var err error
	if b.module, err = b.d.Load(text); err != nil {
		return fmt.Errorf("cuda: kernels: %w", lacking(err))
	}
	for i, n := range kernelNames() {
		if b.fn[i], err = b.d.Function(b.module, n); err != nil {
			return fmt.Errorf("cuda: kernels: %w", lacking(err))
		}
		if room := b.dynamicShared(kernel(i)); room > 0 {
			if err := b.d.AllowShared(b.fn[i], room); err != nil {
				return fmt.Errorf("cuda: kernels: %s: %d bytes of shared memory: %w", n, room, lacking(err))
			}
		}
	}
	return nil
}

// dynamicShared is the most dynamic shared memory that launches of a kernel ask for.
func (b *Backend) dynamicShared(k kernel) int {
	switch {
	case k >= kFFN:
		down, t := (k-kFFN)&2 != 0, expertTypes[(k-kFFN)/4]
		if !b.ffnFits(t, down) {
			return 0
		} else if down {
			return max(b.ffnDownRoom(t, false), b.ffnDownRoom(t, true))
		}
		return max(b.ffnUpRoom(false), b.ffnUpRoom(true))
	case k >= kExperts:
		return 2 * (sharedTile + 8*2368)
	case k == kMatmulQ8Many:
		return 2 * sharedTile
	case k == kMatmulF16Many:
		return sharedF16
	case k == kFrontRest:
		return 0
	case k >= kMatmulQ8Few8 && k <= kMatmulF16Few32:
		return b.fewRoom()
	case k == kTopParts:
		return topRoom(b.sh.Vocab)
	case k == kAttendTiles || k == kAttendRows:
		return attendRoom(b.sh.HeadDim)
	case k == kAttendWide && b.wideAttend():
		return wideRoom(&b.sh)
	}
	return 0
}

// launch queues a kernel whose argument struct is at args.
func launch[A any](b *Backend, k kernel, gx, gy, gz, block, shared int, args A) {
	if b.err != nil || gx <= 0 || gy <= 0 || gz <= 0 {
		return
	}
	*(*A)(unsafe.Pointer(&b.args)) = args
	l := driver.Launch{Grid: [3]int{gx, gy, gz}, Block: block, Shared: shared, Dependent: b.dependent}
	if err := b.d.Launch(b.fn[k], l, unsafe.Pointer(&b.args), b.stream); err != nil {
		b.fail(err)
	}
}
