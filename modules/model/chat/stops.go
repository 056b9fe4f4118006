package chat

// Stops looks for stop strings in a text that comes in pieces. It holds back only what may still become one. The
// first string to be complete wins, the longest of those that end at the same byte; so the answer does not depend on
// how the text was cut.
type Stops struct {
	stops []stop
	held  string
}

type stop struct {
	text    string
	border  []int // border[n] is the length of the longest proper prefix of text[:n] that also ends it
	matched int   // bytes of text that the input so far ends with
}

// NewStops returns a matcher for the strings that are not empty.
func NewStops(texts []string) *Stops {
	s := &Stops{}
	for _, text := range texts {
		if text != "" {
			s.stops = append(s.stops, stop{text: text, border: borders(text)})
		}
	}
	return s
}

// borders is the failure function of Knuth, Morris and Pratt.
func borders(text string) []int {
	b := make([]int, len(text)+1)
	for i, k := 1, 0; i < len(text); i++ {
		for k > 0 && text[i] != text[k] {
			k = b[k]
		}
		if text[i] == text[k] {
			k++
		}
		b[i+1] = k
	}
	return b
}

// Add takes the next piece and returns the text that is certain to come before any stop string. When one is complete,
// hit is that string and used is how much of the piece it took; the rest of the piece was not looked at, and nothing
// is held any more.
func (s *Stops) Add(text string) (out, hit string, used int) {
	for i := range len(text) {
		for k := range s.stops {
			if st := &s.stops[k]; st.step(text[i]) && len(st.text) > len(hit) {
				hit = st.text
			}
		}
		if hit != "" {
			all := s.held + text[:i+1]
			s.reset()
			return all[:len(all)-len(hit)], hit, i + 1
		}
	}
	longest := 0
	for k := range s.stops {
		longest = max(longest, s.stops[k].matched)
	}
	all := s.held + text
	s.held = all[len(all)-longest:]
	return all[:len(all)-longest], "", len(text)
}

// step takes one byte and tells whether the string is complete.
func (s *stop) step(c byte) bool {
	for s.matched > 0 && (s.matched == len(s.text) || s.text[s.matched] != c) {
		s.matched = s.border[s.matched]
	}
	if s.text[s.matched] == c {
		s.matched++
	}
	return s.matched == len(s.text)
}

// Flush returns what is held, when no more text will come.
func (s *Stops) Flush() string {
	out := s.held
	s.reset()
	return out
}

func (s *Stops) reset() {
	s.held = ""
	for k := range s.stops {
		s.stops[k].matched = 0
	}
}
