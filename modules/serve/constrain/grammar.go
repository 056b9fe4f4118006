package constrain

import (
	"fmt"
	"sync"
)

// class is a set of bytes.
type class [4]uint64

func (c *class) add(lo, hi byte) {
	for b := int(lo); b <= int(hi); b++ {
		c[b/64] |= 1 << (b % 64)
	}
}

func (c *class) has(b byte) bool { return c[b/64]>>(b%64)&1 == 1 }

func bytes(ranges ...byte) class {
	var c class
	for i := 0; i < len(ranges); i += 2 {
		c.add(ranges[i], ranges[i+1])
	}
	return c
}

// maxProgram bounds the instructions of a program.
const maxProgram = 1 << 18

type op uint8

const (
	opByte  op = iota // one byte of class
	opSplit           // go on at x and at y
	opJump            // at x
	opCall            // rule x, then the next instruction
	opRet
	opEnd
)

type instr struct {
	op    op
	class class
	x, y  int
}

// expr is a piece of grammar: it writes its instructions.
type expr func(p *program)

// program is a grammar being written.
type program struct {
	code  []instr
	rules []expr // yet to be written
	start []int  // of written rules
}

func one(c class) expr {
	return func(p *program) { p.code = append(p.code, instr{op: opByte, class: c}) }
}

func lit(s string) expr {
	return func(p *program) {
		for i := range len(s) {
			one(bytes(s[i], s[i]))(p)
		}
	}
}

func seq(list ...expr) expr {
	return func(p *program) {
		for _, e := range list {
			if len(p.code) > maxProgram {
				return // repetitions of repetitions; finish has the error
			}
			e(p)
		}
	}
}

func alt(list ...expr) expr {
	return func(p *program) {
		var jumps []int
		for i, e := range list {
			last := i == len(list)-1
			at := len(p.code)
			if !last {
				p.code = append(p.code, instr{op: opSplit, x: at + 1})
			}
			e(p)
			if !last {
				jumps = append(jumps, len(p.code))
				p.code = append(p.code, instr{op: opJump})
				p.code[at].y = len(p.code)
			}
		}
		for _, j := range jumps {
			p.code[j].x = len(p.code)
		}
	}
}

func empty(*program) {}

func opt(e expr) expr { return alt(e, empty) }

func star(e expr) expr {
	return func(p *program) {
		at := len(p.code)
		p.code = append(p.code, instr{op: opSplit, x: at + 1})
		e(p)
		p.code = append(p.code, instr{op: opJump, x: at})
		p.code[at].y = len(p.code)
	}
}

func plus(e expr) expr { return seq(e, star(e)) }

// atMost is e up to n times.
func atMost(n int, e expr) expr {
	out := expr(empty)
	for range n {
		out = opt(seq(e, out))
	}
	return out
}

// rule makes a rule that is written once, however often it is called, and may call itself.
func (p *program) rule() (call expr, define func(expr)) {
	i := len(p.rules)
	p.rules = append(p.rules, nil)
	return func(p *program) { p.code = append(p.code, instr{op: opCall, x: i}) }, func(e expr) { p.rules[i] = e }
}

// Grammar is what a text may be.
type Grammar struct {
	code []instr

	mu    sync.Mutex
	cache *cache
}

// finish writes the rules behind the start.
func (p *program) finish(start expr) (*Grammar, error) {
	start(p)
	p.code = append(p.code, instr{op: opEnd})
	for i := 0; i < len(p.rules) && len(p.code) <= maxProgram; i++ {
		p.start = append(p.start, len(p.code))
		p.rules[i](p)
		p.code = append(p.code, instr{op: opRet})
	}
	if len(p.code) > maxProgram {
		return nil, fmt.Errorf("schema: want at most %d steps, got more", maxProgram)
	}
	for i := range p.code {
		if p.code[i].op == opCall {
			p.code[i].x = p.start[p.code[i].x]
		}
	}
	return &Grammar{code: p.code}, nil
}
