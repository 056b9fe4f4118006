package chat

import (
	"crypto/rand"
	"encoding/hex"
	"strings"

	"github.com/ds4-go/ds4/modules/model/tokenizer"
)

// ParserOptions say what a completion may hold.
type ParserOptions struct {
	// Thinking tells that the prompt ended with <think>, so the completion begins with reasoning.
	Thinking bool
	// Tools are the declared ones. Their schemas decide where the model left a value's type open.
	Tools []Tool
	// NoCalls takes call blocks for text. Otherwise they are calls whether or not tools were declared.
	NoCalls bool
	// Strict leaves a call block that stands in unfinished reasoning there. Otherwise, if the block is complete and
	// nothing follows it, the reasoning counts as finished and the calls are made.
	Strict bool
	// Official takes blocks in other than the official spelling for text.
	Official bool
	// CoerceStrings gives a value marked as a string the type its schema declares, if it can be read as that.
	CoerceStrings bool
	// Stops are stop strings. They end the completion where they occur in the content; not in reasoning or calls.
	Stops []string
	// NewID makes the ids of calls; nil makes random ones, "call_" and 32 hexadecimal digits.
	NewID func() string
}

// EventKind tells what an event reports.
type EventKind uint8

const (
	// Reasoning and Content: Text goes on.
	Reasoning EventKind = iota + 1
	Content
	// ToolStart: call Index begins, with ID and Name.
	ToolStart
	// ToolArgs: Text is the next fragment of the JSON object that holds the arguments of call Index.
	ToolArgs
	// ToolEnd: call Index ends, and its fragments are a whole JSON object. If Incomplete, the model did not get to the
	// end of it and it should not be made.
	ToolEnd
	// Done: nothing that the model could add would count; stop generating. It comes after the end of a call block and
	// after a stop string, and it comes last.
	Done
)

// Event is a piece of a completion, understood.
type Event struct {
	Kind       EventKind
	Text       string
	Index      int
	ID, Name   string
	Incomplete bool
}

// End is why no more text comes.
type End uint8

const (
	// EndEOS: the model ended its turn.
	EndEOS End = iota
	// EndLength: a limit was hit.
	EndLength
)

// Finish reasons of a Result.
const (
	FinishStop      = "stop"
	FinishLength    = "length"
	FinishToolCalls = "tool_calls"
)

// Result is a whole completion.
type Result struct {
	// Message is the assistant's message, ready to be added to the conversation.
	Message Message
	// Finish is FinishStop, FinishLength or FinishToolCalls.
	Finish string
	// Stop is the stop string that ended the content, and StopOffset the bytes of the completion before it.
	Stop       string
	StopOffset int
	// Incomplete is the call that generation ended in, with its arguments closed. Its events have been sent; it is not
	// among the message's calls.
	Incomplete *ToolCall
	// Unclosed tells that the reasoning never ended, be it that a call block followed or nothing.
	Unclosed bool
	// Malformed tells that a call block held something that is not in the grammar.
	Malformed bool
}

// Parser reads one completion. It holds back text only as long as it may be part of a tag, of a character or of the
// line breaks in front of a call block.
//
// It reads text, not tokens: a tag that the model spells out in ordinary tokens counts as that tag.
type Parser struct {
	o      ParserOptions
	state  parserState
	buf    string // not understood yet
	pos    int    // bytes of the completion before buf
	events []Event
	stops  *Stops

	reasoning, content strings.Builder
	result             Result

	block     *blockParser // the call block being read
	tentative []Event      // its events, while it is not certain that it is one
	tail      string       // the last bytes of a tentative block, or the white space behind it
}

type parserState uint8

const (
	inReasoning parserState = iota
	inText
	inBlock
	inTentative // a block inside reasoning
	inNothing   // done
)

// NewParser returns a parser for one completion.
func NewParser(o ParserOptions) *Parser {
	if o.NewID == nil {
		o.NewID = newID
	}
	p := &Parser{o: o, state: inText}
	if o.Thinking {
		p.state = inReasoning
	}
	if len(o.Stops) > 0 {
		p.stops = NewStops(o.Stops)
	}
	return p
}

func newID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	return "call_" + hex.EncodeToString(b[:])
}

// Write takes the next piece of the completion, without the token that ends it, and returns what is certain now. The
// slice is valid until the next call.
func (p *Parser) Write(text string) []Event {
	p.events = p.events[:0]
	p.buf += text
	p.run(false)
	return p.events
}

// InReasoning tells that the next token is part of the reasoning, or of the tag that ends it.
func (p *Parser) InReasoning() bool { return p.state == inReasoning || p.state == inTentative }

// Structural tells that the next token is part of the markup of a call block, where there is nothing to choose: a
// server may sample it greedily.
func (p *Parser) Structural() bool { return p.state == inBlock && p.block.structural() }

// Finish ends the completion and returns the last events and the whole.
func (p *Parser) Finish(end End) ([]Event, Result) {
	p.events = p.events[:0]
	p.run(true)
	if p.state == inTentative {
		p.endTentative()
	}
	open := p.state == inBlock
	if open {
		p.endBlock()
	}
	p.flushStops()

	r := &p.result
	r.Unclosed = r.Unclosed || p.state == inReasoning
	r.Message.Role = RoleAssistant
	r.Message.Reasoning, r.Message.Content = p.reasoning.String(), p.content.String()
	switch {
	case r.Stop != "":
		r.Finish = FinishStop
	case len(r.Message.ToolCalls) > 0 && !(open && end == EndLength):
		r.Finish = FinishToolCalls
	case end == EndLength:
		r.Finish = FinishLength
	default:
		r.Finish = FinishStop
	}
	p.state = inNothing
	return p.events, *r
}

func (p *Parser) run(final bool) {
	for more := true; more; {
		switch p.state {
		case inReasoning, inText:
			more = p.scan(final)
		case inBlock:
			more = p.readBlock()
		case inTentative:
			more = p.readTentative()
		case inNothing:
			p.take(len(p.buf))
			more = false
		}
	}
}

// take removes n bytes from buf.
func (p *Parser) take(n int) string {
	s := p.buf[:n]
	p.buf = p.buf[n:]
	p.pos += n
	return s
}

// scan passes on text up to the next tag, and acts on that. It reports whether it got anywhere.
func (p *Parser) scan(final bool) bool {
	for i := 0; ; i++ {
		k := strings.IndexByte(p.buf[i:], '<')
		if k < 0 {
			break
		}
		i += k
		tag, partial := p.tagAt(i)
		if partial && !final {
			p.text(p.take(i - p.separator(i)))
			return false
		}
		if tag == nil {
			continue
		}
		sep := 0
		if tag.block != nil {
			sep = p.separator(i)
		}
		p.text(p.take(i - sep))
		switch {
		case p.state == inNothing: // a stop string
		case tag.block != nil:
			p.openBlock(tag.block, sep)
		default:
			p.take(len(tag.text))
			p.state = tag.state
		}
		return true
	}
	n := len(p.buf)
	if !final {
		n = tokenizer.WholeChars(p.buf)
		n -= p.separator(n)
	}
	p.text(p.take(n))
	return false
}

// separator is the number of line breaks, at most two, before place i of buf. A call block takes them along: the model
// was taught to write two in front of it, and they are no part of the content.
func (p *Parser) separator(i int) int {
	n := 0
	for !p.o.NoCalls && n < 2 && n < i && p.buf[i-1-n] == '\n' {
		n++
	}
	return n
}

// tag is a tag that matters outside of blocks: the state after it, or the spelling of the block it begins.
type tag struct {
	text  string
	state parserState
	block *spelling
}

var (
	thinkTag    = &tag{text: tokenizer.Think, state: inReasoning}
	endThinkTag = &tag{text: tokenizer.EndThink, state: inText}
	blockTags   = func() (tags []*tag) {
		for _, d := range dialects {
			tags = append(tags, &tag{text: d.start, block: d})
		}
		return tags
	}()
)

// tagAt finds the tag at place i of buf; partial tells that there is the beginning of one and the end of the text.
func (p *Parser) tagAt(i int) (found *tag, partial bool) {
	rest := p.buf[i:]
	try := func(t *tag) {
		switch {
		case strings.HasPrefix(rest, t.text):
			found = t
		case strings.HasPrefix(t.text, rest):
			partial = true
		}
	}
	// A </think> closes reasoning; a second one is dropped. <think> is dropped in reasoning, and opens it only as the
	// very first thing.
	try(endThinkTag)
	if p.state == inReasoning || p.pos+i == 0 {
		try(thinkTag)
	}
	if !p.o.NoCalls && (p.state == inText || !p.o.Strict) {
		for _, t := range blockTags {
			if !p.o.Official || !t.block.lax {
				try(t)
			}
		}
	}
	return found, partial && found == nil
}

// text passes on reasoning or content, whichever it is now.
func (p *Parser) text(s string) {
	switch {
	case s == "":
	case p.state == inReasoning:
		p.reasoning.WriteString(s)
		p.emit(Event{Kind: Reasoning, Text: s})
	case p.stops == nil:
		p.contentText(s)
	default:
		out, hit, used := p.stops.Add(s)
		p.contentText(out)
		if hit != "" {
			p.result.Stop = hit
			p.result.StopOffset = p.pos - len(s) + used - len(hit)
			p.done()
		}
	}
}

func (p *Parser) contentText(s string) {
	if s != "" {
		p.content.WriteString(s)
		p.emit(Event{Kind: Content, Text: s})
	}
}

func (p *Parser) flushStops() {
	if p.stops != nil {
		p.contentText(p.stops.Flush())
	}
}

func (p *Parser) done() {
	p.state = inNothing
	p.emit(Event{Kind: Done})
}

// emit adds an event, or adds its text to the last one if that goes on.
func (p *Parser) emit(e Event) { p.events = appendEvent(p.events, e) }

func appendEvent(events []Event, e Event) []Event {
	if n := len(events) - 1; n >= 0 && e.Kind == events[n].Kind && e.Index == events[n].Index &&
		(e.Kind == Reasoning || e.Kind == Content || e.Kind == ToolArgs) {
		events[n].Text += e.Text
		return events
	}
	return append(events, e)
}

// openBlock begins a call block, sep line breaks ahead. In reasoning it is read aside until it is known to be more than
// a quotation.
func (p *Parser) openBlock(d *spelling, sep int) {
	p.block = newBlockParser(d, p.take(sep), &p.o)
	p.take(len(d.start))
	if p.state == inReasoning {
		p.state = inTentative
		p.block.doubtful = true // to wait on after every mention of the tag would hold the reasoning back
		p.tentative, p.tail = p.tentative[:0], ""
		p.block.emit = func(e Event) { p.tentative = appendEvent(p.tentative, e) }
		return
	}
	p.flushStops()
	p.state = inBlock
	p.block.emit = p.emit
}

// feed gives the first n bytes of buf to the block, and takes back what the block did not use when it is over.
func (p *Parser) feed(n int) blockStatus {
	status := p.block.read(p.take(n))
	if status != blockGoesOn {
		p.buf = p.block.buf + p.buf
		p.pos -= len(p.block.buf)
		p.block.buf = ""
	}
	return status
}

func (p *Parser) readBlock() bool {
	status := p.feed(len(p.buf))
	switch {
	case status == blockGoesOn:
		return false
	case status == blockNone || len(p.block.calls) == 0:
		p.revertBlock()
		return true
	}
	p.keepBlock()
	p.done()
	return true
}

// revertBlock gives a block that holds no call back to the content.
func (p *Parser) revertBlock() {
	p.result.Malformed = p.result.Malformed || p.block.malformed
	p.state = inText
	p.text(p.block.raw.String())
	p.block = nil
}

// keepBlock makes the calls of the block those of the message.
func (p *Parser) keepBlock() {
	p.result.Malformed = p.result.Malformed || p.block.malformed
	p.result.Message.ToolCalls = p.block.calls
	if p.block.closed {
		p.result.Message.Block = &Block{Text: p.block.raw.String(), Calls: p.block.calls}
	}
}

// endBlock is the end of generation inside a block: what is open is closed, what is complete counts. A block in which
// no call had begun is text again if it was not a block at all, and vanishes if it was merely cut off.
func (p *Parser) endBlock() {
	p.result.Incomplete = p.block.finish()
	switch {
	case len(p.block.calls) > 0:
		p.keepBlock()
	case p.result.Incomplete == nil && (p.block.malformed || p.block.spelling.lax):
		p.block.take(len(p.block.buf))
		p.revertBlock()
	}
}

// readTentative reads a block inside reasoning. It counts only if it is complete and ends the completion; a </think> or
// any text after it shows that it was part of the reasoning.
func (p *Parser) readTentative() bool {
	if p.block.closed {
		p.tail += p.take(len(p.buf) - len(strings.TrimLeft(p.buf, whiteSpace)))
		if p.buf == "" {
			return false
		}
		// The line breaks may belong to another block.
		p.buf, p.pos = p.tail+p.buf, p.pos-len(p.tail)
		p.unquote(inReasoning, p.block.raw.String())
		return true
	}
	// The tag may have begun in what was read before.
	seen := p.tail + p.buf
	n, at := len(p.buf), strings.Index(seen, tokenizer.EndThink)
	if at >= 0 {
		n = at + len(tokenizer.EndThink) - len(p.tail)
	}
	status := p.feed(n)
	switch {
	case status == blockNone:
		p.unquote(inReasoning, p.block.raw.String())
	case status == blockClosed:
		p.tail = ""
	case at >= 0:
		all := p.block.raw.String() + p.block.buf
		p.unquote(inText, strings.TrimSuffix(all, tokenizer.EndThink))
	default:
		p.tail = seen[max(0, len(seen)-len(tokenizer.EndThink)+1):]
		return false
	}
	return true
}

// unquote gives a tentative block back to the reasoning, after which comes the given state.
func (p *Parser) unquote(after parserState, text string) {
	p.state = inReasoning
	p.text(text)
	p.state = after
	p.block = nil
}

// endTentative is the end of the completion after or inside a tentative block.
func (p *Parser) endTentative() {
	if !p.block.closed {
		p.unquote(inReasoning, p.block.raw.String()+p.block.buf)
		return
	}
	if len(p.block.calls) == 0 {
		p.unquote(inReasoning, p.block.raw.String()+p.tail)
		return
	}
	for _, e := range p.tentative {
		p.emit(e)
	}
	p.result.Unclosed = true
	p.keepBlock()
	p.done()
}
