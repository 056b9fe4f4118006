package serve

import "github.com/ds4-go/ds4/modules/model/sample"

// maxLoop is the longest period, in tokens, that the guard sees: a paragraph.
const maxLoop = 256

// loops finds a model that says the same again and again, as it does at low temperatures when it is stuck.
type loops struct {
	times int // 0: nothing is looked for
	found bool
	last  []int32 // tokens of the part that is being written
}

// add takes a token and says whether the text repeats itself.
func (l *loops) add(id int32) bool {
	if l.times == 0 {
		return false
	}
	if window := maxLoop * l.times; len(l.last) >= 2*window {
		l.last = append(l.last[:0], l.last[len(l.last)-window:]...)
	}
	l.last = append(l.last, id)
	l.found = l.found || sample.Looping(l.last, maxLoop, l.times)
	return l.found
}

// clear begins a new part, which may repeat what another said.
func (l *loops) clear() { l.last, l.found = l.last[:0], false }
