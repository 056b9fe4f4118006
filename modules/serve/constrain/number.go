package constrain

import (
	"math"
	"strconv"

	"github.com/ds4-go/ds4/modules/serve/wire"
)

// Numbers with bounds are written out in full. Where one bound is missing, it is the greatest whole number that every
// reader of JSON has.
const (
	largest      = 1 << 53
	maxMultiples = 1024 // that are listed one by one
	maxDivisor   = 1000 // of multiples without bounds
)

// interval is from lo to hi; the ends count unless they are open.
type interval struct {
	lo, hi         float64
	loOpen, hiOpen bool
}

// interval reads the bounds of a number; ok is false where there are none.
func (s *schema) interval(n *wire.Node, path string, use func(...string)) (v interval, ok bool) {
	v = interval{lo: -largest, hi: largest}
	for _, key := range []string{"minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum"} {
		use(key)
		if !hasKey(n, key) {
			continue
		}
		ok = true
		f, open := s.numeral(n.Get(key), path+"."+key), key[0] == 'e'
		if key == "minimum" || key == "exclusiveMinimum" {
			if f > v.lo || f == v.lo && open {
				v.lo, v.loOpen = f, open
			}
		} else if f < v.hi || f == v.hi && open {
			v.hi, v.hiOpen = f, open
		}
	}
	return v, ok
}

func (s *schema) numeral(n *wire.Node, path string) float64 {
	f, err := strconv.ParseFloat(n.Text, 64)
	if n.Kind != wire.Number || err != nil || math.Abs(f) > largest {
		s.fail(path, "want a number from -2^53 to 2^53, got %s", n.Kind)
		return 0
	}
	return f
}

func (s *schema) integer(n *wire.Node, path string, use func(...string)) expr {
	v, bounded := s.interval(n, path, use)
	use("multipleOf")
	lo, hi := math.Ceil(v.lo), math.Floor(v.hi)
	if v.loOpen && lo == v.lo {
		lo++
	}
	if v.hiOpen && hi == v.hi {
		hi--
	}
	switch {
	case lo > hi:
		return s.fail(path, "minimum and maximum allow no integer")
	case hasKey(n, "multipleOf"):
		return s.multiples(n, path, int64(lo), int64(hi), bounded)
	case bounded:
		return signed(int64(lo), int64(hi))
	}
	return integer()
}

// multiples is every multiple from lo to hi.
func (s *schema) multiples(n *wire.Node, path string, lo, hi int64, bounded bool) expr {
	f := s.numeral(n.Get("multipleOf"), path+".multipleOf")
	by := int64(f)
	switch {
	case s.err != nil:
		return empty
	case float64(by) != f || by < 1:
		return s.fail(path+".multipleOf", "want a positive integer")
	case by == 1 && bounded:
		return signed(lo, hi)
	case by == 1:
		return integer()
	}
	first, last := lo/by, hi/by // towards zero
	if first*by < lo {
		first++
	}
	if last*by > hi {
		last--
	}
	switch {
	case first > last:
		return s.fail(path+".multipleOf", "there is none between minimum and maximum")
	case last-first < maxMultiples:
		var list []expr
		for k := first; k <= last; k++ {
			list = append(list, lit(strconv.FormatInt(k*by, 10)))
		}
		return alt(list...)
	case bounded:
		return s.fail(path+".multipleOf", "want at most %d multiples between minimum and maximum", maxMultiples)
	case by > maxDivisor:
		return s.fail(path+".multipleOf", "want at most %d", maxDivisor)
	}
	return alt(lit("0"), seq(opt(lit("-")), divisible(int(by))))
}

// divisible is every positive number that by divides: the program goes from remainder to remainder with each digit.
func divisible(by int) expr {
	return func(p *program) {
		start := len(p.code) // the digits of remainder r, of which the first is no zero, are at start+r*size behind the head
		const size = 32      // a split, a byte and a jump for each digit, and two for the end
		head := 9*3 - 1
		at := func(r int) int { return start + head + r*size }
		digit := func(d, r int, last bool) {
			if !last {
				p.code = append(p.code, instr{op: opSplit, x: len(p.code) + 1, y: len(p.code) + 3})
			}
			p.code = append(p.code, instr{op: opByte, class: bytes('0'+byte(d), '0'+byte(d))}, instr{op: opJump, x: at((10*r + d) % by)})
		}
		for d := 1; d <= 9; d++ {
			digit(d, 0, d == 9)
		}
		for r := range by {
			for d := range 10 {
				digit(d, r, false)
			}
			if r == 0 {
				p.code = append(p.code, instr{op: opJump, x: at(by)}, instr{op: opByte})
			} else {
				p.code = append(p.code, instr{op: opByte}, instr{op: opByte}) // no byte goes on here
			}
		}
	}
}

// signed is every integer from lo to hi.
func signed(lo, hi int64) expr {
	var list []expr
	if lo < 0 {
		list = append(list, seq(lit("-"), unsigned(max(1, -hi), -lo)))
	}
	if hi >= 0 {
		list = append(list, unsigned(max(0, lo), hi))
	}
	return alt(list...)
}

// unsigned is every integer from lo to hi, none of them negative.
func unsigned(lo, hi int64) expr {
	var list []expr
	for lo <= hi {
		text := strconv.FormatInt(lo, 10)
		top := min(hi, pow10(len(text))-1) // the last with as many digits
		list = append(list, between(text, strconv.FormatInt(top, 10), '0', '9'))
		lo = top + 1
	}
	return alt(list...)
}

func pow10(n int) int64 {
	p := int64(1)
	for range n {
		p *= 10
	}
	return p
}

func (s *schema) number(n *wire.Node, path string, use func(...string)) expr {
	v, bounded := s.interval(n, path, use)
	switch {
	case !bounded:
		return number()
	case v.lo != math.Trunc(v.lo):
		return s.fail(path+".minimum", "want a whole number, got %g", v.lo)
	case v.hi != math.Trunc(v.hi):
		return s.fail(path+".maximum", "want a whole number, got %g", v.hi)
	case v.lo > v.hi || v.lo == v.hi && (v.loOpen || v.hiOpen):
		return s.fail(path, "minimum and maximum allow no number")
	}
	var list []expr
	if v.lo < 0 {
		list = append(list, seq(lit("-"), decimals(int64(max(0, -v.hi)), int64(-v.lo), v.hi >= 0 || v.hiOpen, v.loOpen)))
	}
	if v.hi > 0 || v.hi == 0 && !v.hiOpen {
		list = append(list, decimals(int64(max(0, v.lo)), int64(v.hi), v.lo >= 0 && v.loOpen, v.hiOpen))
	}
	return alt(list...)
}

// decimals is every number from lo to hi, none of them negative, with or without decimals.
func decimals(lo, hi int64, loOpen, hiOpen bool) expr {
	zeros := opt(seq(lit("."), plus(lit("0"))))
	exactly := func(n int64) expr { return lit(strconv.FormatInt(n, 10)) }
	if lo == hi {
		return seq(exactly(lo), zeros)
	}
	any := opt(seq(lit("."), digits()))
	first := any
	if loOpen {
		first = seq(lit("."), star(lit("0")), one(bytes('1', '9')), star(one(bytes('0', '9'))))
	}
	list := []expr{seq(exactly(lo), first)}
	if lo+1 < hi {
		list = append(list, seq(unsigned(lo+1, hi-1), any))
	}
	if !hiOpen {
		list = append(list, seq(exactly(hi), zeros))
	}
	return alt(list...)
}
