package kvstore

import "fmt"

// Reason is why a checkpoint was written. The numbers are those of KVC files.
type Reason uint8

// Reasons.
const (
	Unknown Reason = iota
	Cold           // the stable head of a prompt that nothing was known of
	Continued
	Evict
	Shutdown
	AgentSystem
	AgentSession
)

var reasonNames = [...]string{"unknown", "cold", "continued", "evict", "shutdown", "agent-system", "agent-session"}

func (r Reason) String() string {
	if int(r) < len(reasonNames) {
		return reasonNames[r]
	}
	return fmt.Sprintf("Reason(%d)", uint8(r))
}

// Policy says when a sequence is worth a checkpoint. All figures are tokens; see DefaultPolicy.
type Policy struct {
	Min       int // shorter prefixes are neither stored nor used
	ColdMax   int // longer first prompts get no cold checkpoint; 0: none does
	Continued int // spacing of checkpoints while a sequence grows, rounded up to Align; 0: none
	Trim      int // left out at the end of a cold checkpoint: the tail of a prompt is what changes
	Align     int // cold checkpoints end at a multiple of it; 0: anywhere
}

// DefaultPolicy holds the defaults of the --kv-cache-* flags.
func DefaultPolicy() Policy {
	return Policy{Min: 512, ColdMax: 30000, Continued: 10000, Trim: 32, Align: 2048}
}

// Check returns an error that names the flag out of range.
func (p Policy) Check() error {
	for _, f := range []struct {
		flag string
		v    int
	}{
		{"min-tokens", p.Min}, {"cold-max-tokens", p.ColdMax}, {"continued-interval-tokens", p.Continued},
		{"boundary-trim-tokens", p.Trim}, {"boundary-align-tokens", p.Align},
	} {
		if f.v < 0 || f.v > 1<<30 {
			return fmt.Errorf("kvstore: --kv-cache-%s: want 0 to %d, got %d", f.flag, 1<<30, f.v)
		}
	}
	if p.ColdMax != 0 && p.ColdMax < p.Min {
		return fmt.Errorf("kvstore: --kv-cache-cold-max-tokens: want 0 or at least --kv-cache-min-tokens (%d), got %d", p.Min, p.ColdMax)
	}
	return nil
}

// Cold returns the lengths at which to store a prompt of which nothing was known, ascending: the anchor (where the last
// user message before the first answer begins: system text, tools and stable preambles; 0 if there is none), if it is
// long enough, and the prompt's own end less Trim, aligned down, if there is no anchor or a good deal follows it (a first
// message may be a whole document). A prefill stops at each, saves, and goes on.
func (p Policy) Cold(prompt, anchor int) []int {
	if p.ColdMax == 0 || prompt < p.Min || prompt > p.ColdMax {
		return nil
	}
	var at []int
	if anchor >= p.Min && anchor < prompt && anchor > 0 {
		at = append(at, anchor)
	}
	end := p.alignDown(prompt - p.Trim)
	switch {
	case len(at) == 0 && (end < p.Min || end <= 0):
		end = prompt
	case len(at) > 0 && end-anchor < max(p.Min, p.Align):
		return at
	}
	return append(at, end)
}

func (p Policy) alignDown(n int) int {
	if p.Align > 0 {
		n -= n % p.Align
	}
	return n
}

// Step is the spacing of continued checkpoints: Continued rounded up to Align. 0: none.
func (p Policy) Step() int {
	if p.Continued == 0 || p.Align == 0 {
		return p.Continued
	}
	return (p.Continued + p.Align - 1) / p.Align * p.Align
}

// Due says whether a sequence that has grown to n tokens, and was last stored (or restored) at last, is stored now.
func (p Policy) Due(n, last int) bool {
	step := p.Step()
	return step > 0 && n >= p.Min && n > last && n%step == 0
}

// Next is the first length past n at which Due will say yes, so that a prefill chunk can end there; 0: never.
func (p Policy) Next(n int) int {
	step := p.Step()
	if step == 0 {
		return 0
	}
	next := (n/step + 1) * step
	for next < p.Min {
		next += step
	}
	return next
}

// Worth says whether a sequence of n tokens that is about to be dropped (evict, shutdown) is stored.
func (p Policy) Worth(n int) bool { return n > 0 && n >= p.Min }
