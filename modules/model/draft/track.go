package draft

import (
	"fmt"
	"strings"
)

// Track is one sequence's part in guessing.
type Track struct {
	c    *Controller
	text Drafter // nil: none
	est  [Sources][Classes]estimate

	proposed bool // proposal is of the text as it is
	proposal guess
	ahead    guess // of the draft head, for the next step
	now      guess // to be evaluated in the step under way

	head    bool // the draft head follows the sequence
	resting bool // but does not pay at present
	fresh   int  // tokens that it has followed since it last began
	retry   int  // the step at which it is tried again
	wait    int  // steps between two tries
	trial   int  // drafts since it last began

	Stats Stats
}

// guess is a draft.
type guess struct {
	tokens []int32
	source Source
	class  int
}

// Track begins a sequence. text may be nil; head says that the model's draft head will follow the sequence from its
// beginning, or from a snapshot that has the head's window.
func (c *Controller) Track(text Drafter, head bool) *Track {
	return &Track{c: c, text: text, head: head, fresh: headWindow, wait: firstWait}
}

// Accept tells that the text has grown, by what was guessed or not.
func (t *Track) Accept(tokens ...int32) {
	if t.text != nil {
		t.text.Accept(tokens...)
	}
	t.proposed = false
	t.ahead.tokens = t.ahead.tokens[:0]
}

// Guesses are what the last Plan wants evaluated behind the sequence's own tokens. Valid until the next Plan.
func (t *Track) Guesses() []int32 { return t.now.tokens }

// Drop forgets what is planned: the sequence is not in the step after all, or something else is certain to follow.
func (t *Track) Drop() { t.now.tokens, t.ahead.tokens = t.now.tokens[:0], t.ahead.tokens[:0] }

// Verified tells how many of the guesses were right. cut says that the walk ended for another reason than a wrong guess.
func (t *Track) Verified(kept int, cut bool) {
	n := len(t.now.tokens)
	t.Stats.Steps++
	t.Stats.Tokens += kept + 1
	t.Stats.Depths[n]++
	t.c.Stats.Depths[n]++
	t.ahead.tokens = t.ahead.tokens[:0]
	if n == 0 {
		return
	}
	if t.now.source == FromHead {
		t.trial++
	}
	if cut {
		n = kept // of what came after, nothing is known
	}
	t.est[t.now.source][t.now.class].learn(n, kept, quickMemory)
	t.c.est[t.now.source][t.now.class].learn(n, kept, slowMemory)
	for _, s := range []*Stats{&t.Stats, &t.c.Stats} {
		s.Drafted[t.now.source] += len(t.now.tokens)
		s.Kept[t.now.source] += kept
		for i := range len(t.now.tokens) {
			s.At[i].Drafted++
			if i < kept {
				s.At[i].Kept++
			}
		}
	}
	t.c.step.kept += kept
	t.now.tokens = t.now.tokens[:0]
}

// What estimates keep of older outcomes when a new one comes.
const (
	quickMemory = 0.98
	slowMemory  = 0.995
)

// propose asks the drafter, once for each text.
func (t *Track) propose(most int) *guess {
	if !t.proposed {
		t.proposal.tokens = t.proposal.tokens[:0]
		if t.text != nil {
			t.proposal.tokens, t.proposal.class = t.text.Propose(t.proposal.tokens, Most)
			t.proposal.source = t.text.Source()
		}
		t.proposed = true
	}
	g := &t.proposal
	g.tokens = g.tokens[:min(len(g.tokens), max(most, 0))]
	return g
}

// survival appends the chances that the first, the first two, … of n guesses are right.
func (t *Track) survival(dst []float64, source Source, class, n int) []float64 {
	p := 1.0
	own, all := &t.est[source][class], &t.c.est[source][class]
	for i := range n {
		p *= own.right(i, all.right(i, prior[source][class]))
		dst = append(dst, p)
	}
	return dst
}

func sum(v []float64) (s float64) {
	for _, x := range v {
		s += x
	}
	return s
}

// Stats is what came of guessing.
type Stats struct {
	Steps, Tokens int // evaluations of the sequence, and tokens that they brought
	Drafted, Kept [Sources]int
	At            [Most]struct{ Drafted, Kept int } // by place in the draft
	Depths        [Most + 1]int                     // evaluations, by how many guesses they had
	Probes        int                               // drafts made to find out, against the odds
}

// Guesses is how many guesses were evaluated and how many of them were right.
func (s *Stats) Guesses() (drafted, kept int) {
	for i := range s.Drafted {
		drafted, kept = drafted+s.Drafted[i], kept+s.Kept[i]
	}
	return drafted, kept
}

// String is for a line about speed.
func (s *Stats) String() string {
	drafted, kept := s.Guesses()
	if drafted == 0 {
		return "no guesses"
	}
	return fmt.Sprintf("guessed %d tokens, %.0f%% right (%s), %.2f tokens a step", drafted, 100*float64(kept)/float64(drafted),
		s.sources(), float64(s.Tokens)/float64(max(s.Steps, 1)))
}

func (s *Stats) sources() string {
	var out []string
	for i, n := range s.Drafted {
		if n > 0 {
			out = append(out, Source(i).String())
		}
	}
	return strings.Join(out, " and ")
}
