package draft

import "github.com/ds4-go/ds4/modules/model"

// Most is the longest draft: one step's rows of a sequence, less the token that is known.
const Most = model.MaxDrafts

// Classes is how many kinds of guesses a drafter can tell apart by how much speaks for them.
const Classes = 4

// Drafter guesses what follows the text of one sequence, at no cost to the device.
type Drafter interface {
	// Accept tells that the text has grown.
	Accept(tokens ...int32)
	// Propose appends up to most tokens that may follow to dst. class, below Classes, says how much speaks for them; guesses
	// of one class are about as good as each other.
	Propose(dst []int32, most int) (tokens []int32, class int)
	// Source is the drafter's kind.
	Source() Source
}

// Source is a kind of drafter.
type Source uint8

// Sources.
const (
	FromText   Source = iota // Lookup
	FromHead                 // the model's draft head
	FromReplay               // Replay
	Sources
)

func (s Source) String() string {
	return [...]string{"lookup", "mtp", "replay", "none"}[min(s, Sources)]
}

// Walk goes along a sequence's rows of a step: row i is of the i-th guess, row 0 of the token before them. next samples the
// token that follows row i, and says whether the sequence goes on behind it; more, if not nil, is asked before the next row
// is used and may refuse it. Walk returns how many guesses were right.
func Walk(guesses []int32, next func(row int) (id int32, on bool), more func(row int) bool) int {
	for i := 0; ; i++ {
		id, on := next(i)
		if !on || i == len(guesses) || guesses[i] != id || more != nil && !more(i+1) {
			return i
		}
	}
}
