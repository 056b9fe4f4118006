package draft

// estimate is how far guesses of one kind come: by place in the draft, how often a guess was right where all before it were.
type estimate struct {
	hits, tries [Most]float64
}

// learn takes the outcome of a draft: the first kept of drafted guesses were right. memory is the share that older outcomes keep.
func (e *estimate) learn(drafted, kept int, memory float64) {
	for i := range min(kept+1, drafted, Most) {
		e.tries[i] = e.tries[i]*memory + 1
		e.hits[i] *= memory
		if i < kept {
			e.hits[i]++
		}
	}
}

// all is the outcome at any place.
func (e *estimate) all() (hits, tries float64) {
	for i := range e.hits {
		hits, tries = hits+e.hits[i], tries+e.tries[i]
	}
	return hits, tries
}

// right is the chance that guess i is right where all before it were: what this place has seen, leaning on what all places
// have, and these on what was seen elsewhere.
func (e *estimate) right(i int, elsewhere float64) float64 {
	const lean, place = 4, 16 // trials that others' guesses, and the other places, weigh
	hits, tries := e.all()
	mean := (hits + lean*elsewhere) / (tries + lean)
	return (e.hits[i] + place*mean) / (e.tries[i] + place)
}

// Before anything is seen: by source and class.
var prior = [Sources][Classes]float64{
	FromText:   {0.35, 0.55, 0.7, 0.85},
	FromHead:   {0.6, 0.6, 0.6, 0.6},
	FromReplay: {0.5, 0.5, 0.5, 0.5},
}
