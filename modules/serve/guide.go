package serve

import (
	"slices"

	"github.com/ds4-go/ds4/modules/model/chat"
	"github.com/ds4-go/ds4/modules/model/tokenizer"
	"github.com/ds4-go/ds4/modules/serve/constrain"
	"github.com/ds4-go/ds4/modules/serve/sched"
)

// guide follows the completion of a conversation: it parses what the model writes, and steers where the request or the
// grammar leaves no choice.
type guide struct {
	t       *tokenizer.Tokenizer
	decoder *tokenizer.Decoder
	parser  *chat.Parser
	allowed []uint32 // scratch of masks

	budget    int // tokens of reasoning after which it is ended; 0: none
	oneCall   bool
	reasoning int
	loops     loops
	events    []chat.Event
	calling   bool // a call was begun
	stopped   bool // after the first of parallel calls

	thinks  bool // it begins with reasoning
	written []int32
	// force holds the token sequences one of which must follow the reasoning; the first forced tokens of them have come.
	force  [][]int32
	forced int

	format *formatted // nil: any text
	calls  *strict    // nil: no tool is strict
}

// guideOptions are a request's part of a guide.
type guideOptions struct {
	Parser      chat.ParserOptions
	ThinkBudget int
	OneCall     bool
	LoopGuard   int // repetitions that end reasoning, or the answer; 0: none do
	Force       [][]int32
	Grammar     *constrain.Grammar // of the text; nil: any
	Calls       *constrain.Grammar // of a block of calls; nil: any
	Vocab       *constrain.Vocab
}

func newGuide(t *tokenizer.Tokenizer, o guideOptions) *guide {
	g := &guide{t: t, decoder: t.NewDecoder(), parser: chat.NewParser(o.Parser), budget: o.ThinkBudget,
		oneCall: o.OneCall, thinks: o.Parser.Thinking, loops: loops{times: o.LoopGuard}, force: slices.Clone(o.Force)}
	if o.Grammar != nil {
		g.format = &formatted{Matcher: o.Grammar.Matcher(o.Vocab)}
		if len(o.Parser.Tools) > 0 {
			g.format.call = t.EncodeTemplate(nil, "\n\n<｜DSML｜tool_calls>\n")
		}
	}
	if o.Calls != nil {
		g.calls = &strict{grammar: o.Calls, vocab: o.Vocab}
	}
	return g
}

// Next implements sched.Guide.
func (g *guide) Next() sched.Constraint {
	if g.calls.inside() && len(g.force) == 0 {
		return sched.Constraint{Mask: g.calls.block.Mask(), Greedy: g.parser.Structural()}
	}
	if g.parser.InReasoning() {
		switch {
		case g.budget > 0 && g.reasoning >= g.budget, g.loops.found:
			return sched.Constraint{Forced: []int32{g.t.Special().EndThink}}
		case len(g.force) > 0, g.format != nil: // a turn that must call or say something may not end before
			return sched.Constraint{Mask: g.mask(true, g.t.Special().EOS)}
		}
		return sched.Constraint{}
	}
	if len(g.force) > 0 {
		return g.script()
	}
	if g.format != nil {
		if mask, forced, free := g.format.next(g.scratch); !free {
			return sched.Constraint{Mask: mask, Forced: forced}
		}
	}
	return sched.Constraint{Greedy: g.parser.Structural()}
}

// script allows the tokens that go on with one of the forced sequences.
func (g *guide) script() sched.Constraint {
	var next []int32
	for _, s := range g.force {
		if id := s[g.forced]; !slices.Contains(next, id) {
			next = append(next, id)
		}
	}
	if len(next) == 1 {
		return sched.Constraint{Forced: next}
	}
	return sched.Constraint{Mask: g.mask(false, next...)}
}

// scratch is room for a mask.
func (g *guide) scratch() []uint32 {
	if g.allowed == nil {
		g.allowed = make([]uint32, (g.t.Len()+31)/32)
	}
	return g.allowed
}

// mask is a mask of the given tokens alone, or of all others.
func (g *guide) mask(others bool, ids ...int32) []uint32 {
	g.scratch()
	fill := uint32(0)
	if others {
		fill = ^fill
	}
	for i := range g.allowed {
		g.allowed[i] = fill
	}
	if rest := g.t.Len() % 32; others && rest > 0 {
		g.allowed[len(g.allowed)-1] = 1<<rest - 1
	}
	for _, id := range ids {
		g.allowed[id/32] ^= 1 << (id % 32)
	}
	return g.allowed
}

// Accept implements sched.Guide.
func (g *guide) Accept(id int32) sched.Step {
	thinking := g.parser.InReasoning()
	if id == g.t.Special().EOS {
		return sched.Step{Part: sched.PartEnd, Done: true}
	}
	if !thinking && len(g.force) > 0 {
		g.follow(id)
	}
	g.events = g.events[:0]
	g.written = append(g.written, id)
	g.calls.take(id, g.t.Text(id))
	text := g.decoder.Add(id)
	done := g.take(g.parser.Write(text))
	if g.format != nil && !thinking && g.format.take(id) {
		done = true
	}
	looping := g.loops.add(id)
	part := sched.PartContent
	switch {
	case thinking && g.parser.InReasoning():
		g.reasoning++
		part = sched.PartReasoning
	case thinking || g.t.IsSpecial(id):
		part = sched.PartMarkup
		g.loops.clear()
	case g.calling || g.parser.Structural():
		part = sched.PartCall
	case looping && g.format == nil: // what has a form would be left without its end
		done = true
	}
	return sched.Step{Events: g.events, Part: part, Done: done}
}

// follow drops the sequences that id does not go on with; after the last token of one all are done.
func (g *guide) follow(id int32) {
	g.force = slices.DeleteFunc(g.force, func(s []int32) bool { return s[g.forced] != id })
	g.forced++
	if slices.ContainsFunc(g.force, func(s []int32) bool { return len(s) == g.forced }) {
		g.force = nil
	}
}

// take keeps the events that are to be seen, and says whether the completion is over.
func (g *guide) take(events []chat.Event) (done bool) {
	for _, e := range events {
		if g.stopped {
			return true
		}
		switch e.Kind {
		case chat.Done:
			return true
		case chat.ToolStart:
			g.calling = true
		case chat.ToolEnd:
			g.stopped = g.oneCall
		}
		g.events = append(g.events, e)
	}
	return g.stopped
}

// Finish implements sched.Guide.
func (g *guide) Finish(end chat.End) ([]chat.Event, sched.Outcome) {
	g.events = g.events[:0]
	g.take(g.parser.Write(g.decoder.Flush()))
	events, res := g.parser.Finish(end)
	g.take(events)
	if g.oneCall && len(res.Message.ToolCalls) > 0 {
		res.Message.ToolCalls = res.Message.ToolCalls[:1]
		res.Finish = chat.FinishToolCalls
	} else if g.stopped && res.Incomplete == nil && len(res.Message.ToolCalls) == 0 {
		res.Finish = chat.FinishStop
	}
	out := sched.Outcome{Result: res, ReasoningTokens: g.reasoning, CallTokens: g.callTokens(&res)}
	if res.Stop != "" {
		out.Kept, out.Rest = g.cut(res.StopOffset)
	}
	return g.events, out
}

// callTokens counts the tokens of calls and their markup: what is left when reasoning and text are taken off.
func (g *guide) callTokens(r *chat.Result) (n int) {
	if len(r.Message.ToolCalls) == 0 && r.Incomplete == nil {
		return 0
	}
	bytes := -len(r.Message.Reasoning) - len(r.Message.Content)
	if g.thinks && !r.Unclosed {
		bytes -= len(tokenizer.EndThink)
	}
	for _, id := range g.written {
		bytes += len(g.t.Text(id))
	}
	for ; bytes > 0 && n < len(g.written); n++ {
		bytes -= len(g.t.Text(g.written[len(g.written)-1-n]))
	}
	return n
}

// cut is what is left of the completion before a byte of it: whole tokens, and tokens of the rest.
func (g *guide) cut(at int) (kept int, rest []int32) {
	for i, id := range g.written {
		text := g.t.Text(id)
		if len(text) > at {
			b := g.t.NewBuilder(nil)
			b.Data(text[:at])
			return i, b.Tokens()
		}
		at -= len(text)
	}
	return len(g.written), nil
}

// plainGuide follows a raw continuation: no reasoning, no calls, stop strings only.
type plainGuide struct {
	t       *tokenizer.Tokenizer
	decoder *tokenizer.Decoder
	stops   *chat.Stops
	events  []chat.Event
	text    []byte
	hit     string
}

func newPlainGuide(t *tokenizer.Tokenizer, stops []string) *plainGuide {
	return &plainGuide{t: t, decoder: t.NewDecoder(), stops: chat.NewStops(stops)}
}

// Next implements sched.Guide.
func (g *plainGuide) Next() sched.Constraint { return sched.Constraint{} }

// Accept implements sched.Guide.
func (g *plainGuide) Accept(id int32) sched.Step {
	if id == g.t.Special().EOS {
		return sched.Step{Part: sched.PartEnd, Done: true}
	}
	g.events = g.events[:0]
	out, hit, _ := g.stops.Add(g.decoder.Add(id))
	g.hit = hit
	g.put(out)
	return sched.Step{Events: g.events, Part: sched.PartContent, Done: hit != ""}
}

func (g *plainGuide) put(text string) {
	if text != "" {
		g.text = append(g.text, text...)
		g.events = append(g.events, chat.Event{Kind: chat.Content, Text: text})
	}
}

// Finish implements sched.Guide.
func (g *plainGuide) Finish(end chat.End) ([]chat.Event, sched.Outcome) {
	g.events = g.events[:0]
	if g.hit == "" {
		out, hit, _ := g.stops.Add(g.decoder.Flush())
		g.hit = hit
		g.put(out)
		g.put(g.stops.Flush())
	}
	r := chat.Result{Finish: chat.FinishStop, Stop: g.hit, Message: chat.Message{Role: chat.RoleAssistant, Content: string(g.text)}}
	if end == chat.EndLength && g.hit == "" {
		r.Finish = chat.FinishLength
	}
	return g.events, sched.Outcome{Result: r}
}
