package model

// Sabotage for tests: each breaks one rule of the addressing, and the fuzz test must notice.

// ForgetHigh lets a rewind go as far as it likes.
func (q *Seq) ForgetHigh() { q.high = q.n }

// ForgetSharing makes every page of the sequence look as if nobody else held it.
func (q *Seq) ForgetSharing() {
	for _, p := range q.pages {
		q.e.pages[p].refs, q.e.pages[p].fixed = 1, 0
	}
}

// Leaks reports pages, slots and ids that are lost when every sequence and snapshot is gone.
func (e *Engine) Leaks() (pages, slots, ids int) {
	e.collect()
	return len(e.pages) - len(e.freePages), e.lim.Slots - len(e.freeSlots), e.lim.Seqs - len(e.freeIDs)
}
