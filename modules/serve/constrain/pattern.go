package constrain

import (
	"fmt"
	"regexp/syntax"
	"unicode"
)

// maxPattern bounds a pattern, in bytes.
const maxPattern = 4096

// pattern is the strings in which a regular expression is found, as JSON Schema has it: anywhere, unless anchors say
// otherwise. Anchors count at the ends only; word boundaries, look-around and references back are errors.
func (s *schema) pattern(text string, a alphabet) (expr, error) {
	re, err := syntax.Parse(text, syntax.Perl)
	if err != nil {
		return nil, err
	}
	p := &patterns{s: s, a: a}
	any := p.class([]rune{0, unicode.MaxRune})
	e := p.whole(re, star(any))
	return e, p.err
}

type patterns struct {
	s   *schema
	a   alphabet
	err error
}

// whole is an expression with what may stand around it.
func (p *patterns) whole(re *syntax.Regexp, around expr) expr {
	for re.Op == syntax.OpCapture {
		re = re.Sub[0]
	}
	list := []*syntax.Regexp{re}
	switch re.Op {
	case syntax.OpAlternate:
		var alts []expr
		for _, sub := range re.Sub {
			alts = append(alts, p.whole(sub, around))
		}
		return alt(alts...)
	case syntax.OpConcat:
		list = re.Sub
	}
	before, after := around, around
	for len(list) > 0 && list[0].Op == syntax.OpBeginText {
		before, list = empty, list[1:]
	}
	for len(list) > 0 && list[len(list)-1].Op == syntax.OpEndText {
		after, list = empty, list[:len(list)-1]
	}
	out := []expr{before}
	for _, sub := range list {
		out = append(out, p.expr(sub))
	}
	return seq(append(out, after)...)
}

func (p *patterns) expr(re *syntax.Regexp) expr {
	list := make([]expr, 0, len(re.Sub))
	for _, sub := range re.Sub {
		list = append(list, p.expr(sub))
	}
	switch re.Op {
	case syntax.OpEmptyMatch:
		return empty
	case syntax.OpLiteral:
		for _, r := range re.Rune {
			list = append(list, p.literal(r, re.Flags&syntax.FoldCase != 0))
		}
		return seq(list...)
	case syntax.OpCharClass:
		return p.class(re.Rune)
	case syntax.OpAnyChar:
		return p.class([]rune{0, unicode.MaxRune})
	case syntax.OpAnyCharNotNL:
		return p.class([]rune{0, '\n' - 1, '\n' + 1, unicode.MaxRune})
	case syntax.OpCapture, syntax.OpConcat:
		return seq(list...)
	case syntax.OpAlternate:
		return alt(list...)
	case syntax.OpStar:
		return star(list[0])
	case syntax.OpPlus:
		return plus(list[0])
	case syntax.OpQuest:
		return opt(list[0])
	case syntax.OpRepeat:
		return times(re.Min, re.Max, list[0], empty)
	}
	if p.err == nil {
		p.err = fmt.Errorf("%s is not supported there", re)
	}
	return empty
}

func (p *patterns) literal(r rune, fold bool) expr {
	ranges := []rune{r, r}
	for f := unicode.SimpleFold(r); fold && f != r; f = unicode.SimpleFold(f) {
		ranges = append(ranges, f, f)
	}
	return p.some(ranges)
}

func (p *patterns) some(ranges []rune) expr {
	if e := p.a.runes(ranges...); e != nil {
		return e
	}
	if p.err == nil {
		p.err = fmt.Errorf("holds a character that cannot come")
	}
	return empty
}

// class is a class of characters, as a rule where it is long: it may be repeated.
func (p *patterns) class(ranges []rune) expr {
	e := p.some(ranges)
	if len(ranges) == 2 && ranges[1] < 0x80 && ranges[0] > '\\' {
		return e
	}
	call, define := p.s.p.rule()
	define(e)
	return call
}
