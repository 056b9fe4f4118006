package vectorscmd

import (
	"bufio"
	"encoding/hex"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
)

// Bounds of the format.
const (
	maxSteps      = 16
	maxTops       = 32
	maxTokenBytes = 128
	maxCases      = 4096
	maxContext    = 1 << 24
)

// Case is one prompt with what should follow.
type Case struct {
	ID     string
	Ctx    int    // tokens
	Prompt string // file
	Steps  []Step
}

// Step is one token of the answer.
type Step struct {
	Selected []byte
	Tops     []Top
}

// Top is one of the likeliest tokens of a step.
type Top struct {
	Token   []byte
	Logprob float64
}

// parser reads records and keeps track of what is open.
type parser struct {
	cases []Case
	open  bool // in a case
	steps int  // that the case promised
	tops  int  // that the step promised
}

// Parse reads a vector file. Errors name the line.
func Parse(r io.Reader) ([]Case, error) {
	s := bufio.NewScanner(r)
	var p parser
	n := 0
	for s.Scan() {
		n++
		f := strings.Fields(s.Text())
		if len(f) == 0 || strings.HasPrefix(f[0], "#") {
			continue
		}
		if err := p.record(f); err != nil {
			return nil, fmt.Errorf("vectors: line %d: %w", n, err)
		}
	}
	if err := s.Err(); err != nil {
		return nil, fmt.Errorf("vectors: line %d: %w", n+1, err)
	}
	if p.open {
		return nil, fmt.Errorf("vectors: case %s: want end, got the end of the file", p.cases[len(p.cases)-1].ID)
	}
	return p.cases, nil
}

func (p *parser) record(f []string) error {
	word, args := f[0], f[1:]
	want := map[string]int{"case": 4, "step": 3, "top": 2, "end": 0}
	n, ok := want[word]
	switch {
	case !ok:
		return fmt.Errorf("want case, step, top or end, got %q", word)
	case len(args) != n:
		return fmt.Errorf("%s: want %d fields, got %d", word, n, len(args))
	case (word == "case") == p.open:
		return fmt.Errorf("%s: out of place", word)
	}
	switch word {
	case "case":
		return p.begin(args)
	case "step":
		return p.step(args)
	case "top":
		return p.top(args)
	}
	return p.end()
}

func (p *parser) current() *Case { return &p.cases[len(p.cases)-1] }

func (p *parser) begin(args []string) error {
	if len(p.cases) == maxCases {
		return fmt.Errorf("case: want at most %d", maxCases)
	}
	ctx, err := number("context", args[1], 1, maxContext)
	if err != nil {
		return err
	}
	if p.steps, err = number("steps", args[2], 1, maxSteps); err != nil {
		return err
	}
	p.cases = append(p.cases, Case{ID: args[0], Ctx: ctx, Prompt: args[3]})
	p.open, p.tops = true, 0
	return nil
}

func (p *parser) step(args []string) error {
	c := p.current()
	if err := p.whole(); err != nil {
		return err
	}
	if len(c.Steps) == p.steps {
		return fmt.Errorf("step: want %d, got more", p.steps)
	}
	if _, err := number("step", args[0], len(c.Steps), len(c.Steps)); err != nil {
		return err
	}
	token, err := token(args[1])
	if err != nil {
		return err
	}
	if p.tops, err = number("tops", args[2], 0, maxTops); err != nil {
		return err
	}
	c.Steps = append(c.Steps, Step{Selected: token})
	return nil
}

func (p *parser) top(args []string) error {
	c := p.current()
	if len(c.Steps) == 0 {
		return fmt.Errorf("top: want a step first")
	}
	s := &c.Steps[len(c.Steps)-1]
	if len(s.Tops) == p.tops {
		return fmt.Errorf("top: want %d, got more", p.tops)
	}
	token, err := token(args[0])
	if err != nil {
		return err
	}
	lp, err := strconv.ParseFloat(args[1], 64)
	if err != nil || math.IsNaN(lp) || math.IsInf(lp, 0) {
		return fmt.Errorf("log-probability: want a number, got %q", args[1])
	}
	s.Tops = append(s.Tops, Top{token, lp})
	return nil
}

// whole says whether the last step has all of its tops.
func (p *parser) whole() error {
	c := p.current()
	if n := len(c.Steps); n > 0 && len(c.Steps[n-1].Tops) != p.tops {
		return fmt.Errorf("step %d: want %d tops, got %d", n-1, p.tops, len(c.Steps[n-1].Tops))
	}
	return nil
}

func (p *parser) end() error {
	if err := p.whole(); err != nil {
		return err
	}
	if n := len(p.current().Steps); n != p.steps {
		return fmt.Errorf("case %s: want %d steps, got %d", p.current().ID, p.steps, n)
	}
	p.open = false
	return nil
}

func number(what, s string, min, max int) (int, error) {
	n, err := strconv.Atoi(s)
	if err != nil || n < min || n > max {
		return 0, fmt.Errorf("%s: want %d to %d, got %q", what, min, max, s)
	}
	return n, nil
}

func token(s string) ([]byte, error) {
	b, err := hex.DecodeString(s)
	if err != nil || len(b) == 0 || len(b) > maxTokenBytes {
		return nil, fmt.Errorf("token: want 1 to %d bytes in hexadecimal, got %q", maxTokenBytes, s)
	}
	return b, nil
}
