package chat

import "fmt"

// Thinking is how much the model reasons before it answers.
type Thinking uint8

// Off is chat mode. On is thinking with the checkpoint's default effort; the others name one.
const (
	Off Thinking = iota
	On
	Low
	High
	Max
)

// String is the name as it stands in requests and traces.
func (t Thinking) String() string {
	if int(t) < len(thinkingNames) {
		return thinkingNames[t]
	}
	return fmt.Sprintf("Thinking(%d)", uint8(t))
}

var thinkingNames = [...]string{Off: "none", On: "default", Low: "low", High: "high", Max: "max"}

// MaxThinkingContext is the context, in tokens, from which Max makes sense: the model card asks for it, because
// reasoning of that depth fills a smaller one before the answer begins.
const MaxThinkingContext = 393216

// Fit lowers Max to High for a context that is too small for it.
func (t Thinking) Fit(contextTokens int) Thinking {
	if t == Max && contextTokens < MaxThinkingContext {
		return High
	}
	return t
}

// Checkpoint is what a revision of the model does with reasoning effort. It is a property of the model file.
type Checkpoint struct {
	Name    string
	prefix  [Max + 1]string     // text after BOS, by thinking
	efforts map[string]Thinking // names in requests
}

const maxPreview = "Reasoning Effort: Absolute maximum with no shortcuts permitted.\n" +
	"You MUST be very thorough in your thinking and comprehensively decompose the problem to resolve the root cause, " +
	"rigorously stress-testing your logic against all potential paths, edge cases, and adversarial scenarios.\n" +
	"Explicitly write out your entire deliberation process, documenting every intermediate step, considered " +
	"alternative, and rejected hypothesis to ensure absolutely no assumption is left unchecked.\n\n"

const max0731 = "Reasoning Effort: Beyond maximum — exhaustive, relentless, and uncompromising.\n" +
	"You MUST reason with the utmost depth and rigor, leaving absolutely nothing to chance: exhaustively decompose the " +
	"problem into its most fundamental components, trace every causal chain to its root, and resolve the underlying " +
	"cause rather than any surface symptom.\n" +
	"Do not stop reasoning until you have independently verified the solution from multiple angles and are certain " +
	"that no assumption remains unchecked and no error remains undiscovered.\n\n"

// Preview is the first release, the one the ds4 engine targets: reasoning is on or off, and Max asks for more.
var Preview = &Checkpoint{
	Name:   "preview",
	prefix: [Max + 1]string{Max: maxPreview},
	efforts: map[string]Thinking{
		"none": Off, "minimal": High, "low": High, "medium": High, "high": High, "xhigh": High, "max": Max, "ultra": Max,
	},
}

// Rev0731 is the later revision with three efforts, of which Low is the default. Its encoding takes medium for low; the
// hosted service maps it to high before it gets there.
var Rev0731 = &Checkpoint{
	Name:   "0731",
	prefix: [Max + 1]string{High: maxPreview, Max: max0731},
	efforts: map[string]Thinking{
		"none": Off, "minimal": Low, "low": Low, "medium": Low, "high": High, "xhigh": High, "max": Max, "ultra": Max,
	},
}

// Effort finds the thinking that a request's effort name asks for. The context is not considered; see Fit.
func (c *Checkpoint) Effort(name string) (Thinking, error) {
	if t, ok := c.efforts[name]; ok {
		return t, nil
	}
	return On, fmt.Errorf("chat: reasoning effort: want none, minimal, low, medium, high, xhigh, max or ultra, got %q", name)
}
