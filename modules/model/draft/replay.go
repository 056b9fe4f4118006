package draft

// Replay guesses the truth, each token with a given probability: what guessing is worth can be measured without a drafter
// that is any good. For tests and benchmarks.
type Replay struct {
	truth []int32
	at    int // tokens of it that have come
	p     float64
	seed  uint64
	vocab int32
}

// NewReplay makes a drafter of a text whose continuation is known. p is the probability that a token is guessed right.
// Which are is the seed's choice, and the same however many are guessed at once: so depths can be compared.
func NewReplay(truth []int32, p float64, vocab int, seed uint64) *Replay {
	return &Replay{truth: truth, p: p, seed: seed, vocab: int32(vocab)}
}

// Source implements Drafter.
func (r *Replay) Source() Source { return FromReplay }

// Accept implements Drafter.
func (r *Replay) Accept(tokens ...int32) { r.at += len(tokens) }

// Propose implements Drafter.
func (r *Replay) Propose(dst []int32, most int) ([]int32, int) {
	for i := r.at; i < min(r.at+most, len(r.truth)); i++ {
		t := r.truth[i]
		if unit(r.seed, i) >= r.p {
			t = (t + 1) % r.vocab
		}
		dst = append(dst, t)
	}
	return dst, 0
}

// unit is uniform in [0, 1), by place: a splitmix64.
func unit(seed uint64, place int) float64 {
	z := (seed*2+1)*0xD1342543DE82EF95 + uint64(place+1)*0x9E3779B97F4A7C15
	z = (z ^ z>>30) * 0xBF58476D1CE4E5B9
	z = (z ^ z>>27) * 0x94D049BB133111EB
	return float64((z^z>>31)>>11) / (1 << 53)
}
