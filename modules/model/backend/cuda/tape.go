package cuda

import (
	"github.com/ds4-go/ds4/modules/model/backend"
	"github.com/ds4-go/ds4/modules/model/backend/cuda/driver"
)

// The tape law says that a step of a tape makes the same calls each time. So the calls of a short step are recorded; when
// the same calls come again they are only compared, and at Wait a captured graph runs instead of them. Anything else — a call
// that differs, a Read in the middle of a step — means direct launches.

// op is an operation's number.
type op uint8

const (
	opEmbed op = iota
	opHCPre
	opAttnQKV
	opCompress
	opIndexTopK
	opAttend
	opAttnOut
	opHCPost
	opRoute
	opExperts
	opSharedExpert
	opHCHead
	opLogits
	opTop
	opDraftJoin
	opCount
)

var opNames = [opCount]string{"embed", "hc_pre", "attn_qkv", "compress", "index_topk", "attend", "attn_out", "hc_post", "route",
	"experts", "shared_expert", "hc_head", "logits", "top", "draft_join"}

// calls are operations in order, with their arguments by kind.
type calls struct {
	order     []op
	embed     []backend.EmbedArgs
	hcPre     []backend.HCPreArgs
	attnQKV   []backend.AttnQKVArgs
	compress  []backend.CompressArgs
	indexTopK []backend.IndexTopKArgs
	attend    []backend.AttendArgs
	attnOut   []backend.AttnOutArgs
	hcPost    []backend.HCPostArgs
	route     []backend.RouteArgs
	experts   []backend.ExpertsArgs
	shared    []backend.SharedExpertArgs
	hcHead    []backend.HCHeadArgs
	logits    []backend.LogitsArgs
	top       []backend.TopArgs
	draftJoin []backend.DraftJoinArgs
}

// graph is a recorded tape of one bucket, and its captured form once it came twice.
type graph struct {
	key   graphKey
	calls calls
	whole bool // recorded to its end
	exec  driver.Graph
}

type graphKey struct {
	tape    backend.Tape
	bucket  int
	indexed bool // the indexer selects
	moved   bool // a span goes to a spare slot
}

func (g *graph) free(d *driver.Driver) error {
	if g.exec == 0 {
		return nil
	}
	e := g.exec
	g.exec = 0
	return d.FreeGraph(e)
}

type mode uint8

const (
	direct mode = iota
	recording
	comparing
)

// tape is where the running step stands.
type tape struct {
	graphs []*graph
	g      *graph
	mode   mode
	at     int          // calls compared
	idx    [opCount]int // of them, by kind
}

// graphRows is the greatest bucket: longer steps hide their launches behind work.
const graphRows = 32

func bucketOf(rows int) int {
	n := 1
	for n < rows {
		n *= 2
	}
	return n
}

// begin chooses the mode of a step.
func (b *Backend) begin(s *backend.Step) {
	t := &b.tape
	t.g, t.mode, t.at, t.idx = nil, direct, 0, [opCount]int{}
	n := bucketOf(len(s.Rows))
	if b.opt.NoGraphs || b.opt.Serial || b.opt.Profile || n > graphRows || n > b.lim.Rows || len(s.Spans) > n || len(s.Outs) > n || len(s.Tops) > 2*n {
		return
	}
	key := graphKey{s.Tape, n, b.indexed(s), moved(s)}
	for _, g := range t.graphs {
		if g.key == key {
			t.g = g
		}
	}
	if t.g == nil {
		t.g = &graph{key: key}
		t.graphs = append(t.graphs, t.g)
	}
	if t.mode = comparing; !t.g.whole {
		t.mode, t.g.calls = recording, calls{}
	}
}

// do is every operation's way in.
func do[A comparable](b *Backend, k op, layer int32, list func(*calls) *[]A, a A, run func(*Backend, A)) {
	t := &b.tape
	if t.mode == comparing {
		if t.at < len(t.g.calls.order) && t.g.calls.order[t.at] == k && (*list(&t.g.calls))[t.idx[k]] == a {
			t.at++
			t.idx[k]++
			return
		}
		b.differ()
	}
	if t.mode == recording {
		t.g.calls.order = append(t.g.calls.order, k)
		l := list(&t.g.calls)
		*l = append(*l, a)
	}
	b.perform(k, layer, func() { run(b, a) })
}

func (b *Backend) perform(k op, layer int32, run func()) {
	b.op = backend.OpError{Op: opNames[k], Layer: int(layer)}
	if !b.stopped() {
		b.rotations()
		if k != opCompress && k != opIndexTopK {
			b.launchFront(nil)
		}
		if k != opSharedExpert {
			b.launchWaitingExperts()
		}
		if k != opHCPre && k != opHCHead {
			if k != opHCPost {
				b.launchTail()
			}
			b.launchPost()
		}
		if k != opSharedExpert {
			b.launchSum()
		}
		if k == opAttnQKV {
			b.endHeads()
		}
		b.prof.mark(b, k)
		run()
		if b.opt.Serial && b.err == nil { // nothing is left to operations that follow: a fault is this one's
			b.settle()
			b.launchHeads()
			b.check(b.d.Sync(b.stream))
		}
	}
}

// rotations launches what every step needs first.
func (b *Backend) rotations() {
	if !b.roped {
		b.roped = true
		launch(b, kRopeTable, b.bound.rows, 1, 1, 128, 0, ropeTableArgs{step: b.scr.step, out: b.scr.ropes, rope: b.rope})
	}
}

// settle launches what operations left to others.
func (b *Backend) settle() {
	b.launchFront(nil)
	b.launchWaitingExperts()
	b.launchTail()
	b.launchPost()
	b.launchSum()
}

// endHeads ends the wait of queries for Attend: if it came, nobody reads them any more.
func (b *Backend) endHeads() {
	if b.due.taken {
		b.due.heads = backend.Buf{}
	}
	b.launchHeads()
}

// differ launches what was compared so far and records the rest anew.
func (b *Backend) differ() {
	t := &b.tape
	b.check(t.g.free(b.d))
	b.runCalls(&t.g.calls, t.at)
	t.g.calls.cut(t.at, &t.idx)
	t.g.whole, t.mode = false, recording
}

// flush makes everything so far run one by one: somebody looks.
func (b *Backend) flush() {
	t := &b.tape
	if b.step == nil {
		return
	}
	if t.mode == direct {
		b.settle()
		b.launchHeads()
		return
	}
	if t.mode == comparing {
		b.runCalls(&t.g.calls, t.at)
	} else {
		t.g.calls = calls{}
	}
	t.mode = direct
	b.settle()
	b.launchHeads()
}

// finish ends the step's calls.
func (b *Backend) finish() {
	t := &b.tape
	switch {
	case t.mode == recording:
		t.g.whole = b.err == nil
	case t.mode == comparing && t.at < len(t.g.calls.order):
		b.runCalls(&t.g.calls, t.at)
	case t.mode == comparing && !b.stopped():
		b.replay(t.g)
	}
	b.settle()
	b.endHeads()
	t.mode = direct
}

// replay runs a graph, capturing it first where it came for the second time.
func (b *Backend) replay(g *graph) {
	if g.exec == 0 {
		was := b.bound
		b.made, b.roped, b.due = made{}, false, due{}
		n := g.key.bucket
		b.bound = bounds{n, min(n, b.lim.Seqs), min(n, b.lim.Outs), min(2*n, b.lim.Tops)}
		exec, err := b.d.Capture(b.stream, func() error {
			b.runCalls(&g.calls, len(g.calls.order))
			b.settle()
			b.endHeads()
			return b.err
		})
		b.bound = was
		if err != nil {
			b.fail(err)
			return
		}
		g.exec = exec
	}
	b.op = backend.OpError{Op: "graph", Layer: -1}
	b.check(b.d.Replay(g.exec, b.stream))
}

// cut keeps the first n calls, of which idx are of each kind.
func (c *calls) cut(n int, idx *[opCount]int) {
	c.order = c.order[:n]
	c.embed = c.embed[:idx[opEmbed]]
	c.hcPre = c.hcPre[:idx[opHCPre]]
	c.attnQKV = c.attnQKV[:idx[opAttnQKV]]
	c.compress = c.compress[:idx[opCompress]]
	c.indexTopK = c.indexTopK[:idx[opIndexTopK]]
	c.attend = c.attend[:idx[opAttend]]
	c.attnOut = c.attnOut[:idx[opAttnOut]]
	c.hcPost = c.hcPost[:idx[opHCPost]]
	c.route = c.route[:idx[opRoute]]
	c.experts = c.experts[:idx[opExperts]]
	c.shared = c.shared[:idx[opSharedExpert]]
	c.hcHead = c.hcHead[:idx[opHCHead]]
	c.logits = c.logits[:idx[opLogits]]
	c.top = c.top[:idx[opTop]]
	c.draftJoin = c.draftJoin[:idx[opDraftJoin]]
}

// runCalls launches the first n calls.
func (b *Backend) runCalls(c *calls, n int) {
	var idx [opCount]int
	for _, k := range c.order[:n] {
		i := idx[k]
		idx[k]++
		switch k {
		case opEmbed:
			b.perform(k, -1, func() { b.embed(c.embed[i]) })
		case opHCPre:
			b.perform(k, c.hcPre[i].Layer, func() { b.hcPre(c.hcPre[i]) })
		case opAttnQKV:
			b.perform(k, c.attnQKV[i].Layer, func() { b.attnQKV(c.attnQKV[i]) })
		case opCompress:
			b.perform(k, c.compress[i].Layer, func() { b.compress(c.compress[i]) })
		case opIndexTopK:
			b.perform(k, c.indexTopK[i].Layer, func() { b.indexTopK(c.indexTopK[i]) })
		case opAttend:
			b.perform(k, c.attend[i].Layer, func() { b.attend(c.attend[i]) })
		case opAttnOut:
			b.perform(k, c.attnOut[i].Layer, func() { b.attnOut(c.attnOut[i]) })
		case opHCPost:
			b.perform(k, c.hcPost[i].Layer, func() { b.hcPost(c.hcPost[i]) })
		case opRoute:
			b.perform(k, c.route[i].Layer, func() { b.route(c.route[i]) })
		case opExperts:
			b.perform(k, c.experts[i].Layer, func() { b.experts(c.experts[i]) })
		case opSharedExpert:
			b.perform(k, c.shared[i].Layer, func() { b.sharedExpert(c.shared[i]) })
		case opHCHead:
			b.perform(k, -1, func() { b.hcHead(c.hcHead[i]) })
		case opLogits:
			b.perform(k, -1, func() { b.logits(c.logits[i]) })
		case opTop:
			b.perform(k, -1, func() { b.top(c.top[i]) })
		case opDraftJoin:
			b.perform(k, -1, func() { b.draftJoin(c.draftJoin[i]) })
		}
	}
}

// last names what the step ran: its last operation, or the graph.
func (t *tape) last() string {
	switch {
	case t.g != nil && t.g.exec != 0:
		return "graph"
	case t.g != nil && len(t.g.calls.order) > 0:
		return "operations up to " + opNames[t.g.calls.order[len(t.g.calls.order)-1]]
	}
	return "operations"
}
