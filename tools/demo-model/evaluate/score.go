package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/ds4-go/ds4/modules/model/chat"
	"github.com/ds4-go/ds4/modules/model/tokenizer"
)

// share counts how often something was right.
type share struct{ right, of int }

func (s *share) add(ok bool) bool {
	s.of++
	if ok {
		s.right++
	}
	return ok
}

func (s share) String() string {
	return fmt.Sprintf("%5d %6.1f %%", s.of, 100*float64(s.right)/float64(max(s.of, 1)))
}

// scores are what answers were worth.
type scores struct {
	answers    map[string]*share // the content, or the calls, by skill
	ends       share             // by itself
	names      share             // calls that parse and name the right tool, and as many as wanted
	args       share             // calls with the right arguments as well
	values     map[string]*share // of arguments, by what kind they are
	faults     map[string]int    // of calls
	keysBehind [2]int            // tokens between a planted key and the end of its prompt: least and most
	fails      io.Writer         // where wrong answers are shown; nil: nowhere
	unexpected share             // answers in conversations with tools that should be no call, and are none
}

func newScores(fails io.Writer) *scores {
	return &scores{answers: map[string]*share{}, values: map[string]*share{}, faults: map[string]int{}, fails: fails}
}

func count(m map[string]*share, name string) *share {
	if m[name] == nil {
		m[name] = &share{}
	}
	return m[name]
}

// add scores the text that the model wrote for a question.
func (s *scores) add(t *tokenizer.Tokenizer, q question, text string, ended bool) {
	want := q.c.Messages[q.at]
	parser := chat.NewParser(chat.ParserOptions{Thinking: q.c.Thinking, Tools: q.c.tools})
	parser.Write(text)
	end := chat.EndLength
	if ended {
		end = chat.EndEOS
	}
	_, got := parser.Finish(end)
	s.ends.add(ended)
	var ok bool
	if len(want.Calls) > 0 {
		ok = s.calls(want.Calls, got)
	} else {
		ok = got.Message.Content == want.Content
		if len(q.c.tools) > 0 {
			s.unexpected.add(len(got.Message.ToolCalls) == 0 && !got.Malformed)
		}
	}
	if q.c.Key != "" {
		n := behind(t, q)
		if s.keysBehind[0] == 0 || n < s.keysBehind[0] {
			s.keysBehind[0] = n
		}
		s.keysBehind[1] = max(s.keysBehind[1], n)
	}
	if !count(s.answers, want.Skill).add(ok && ended) && s.fails != nil {
		_, _ = fmt.Fprintf(s.fails, "%s\n  asked %.300q\n  want  %q %s\n  got   %q\n", want.Skill, q.c.Messages[q.at-1].Content, want.Content, written(want.Calls), text)
	}
}

func written(calls []call) string {
	var out []string
	for _, c := range calls {
		out = append(out, c.Name+string(c.Arguments))
	}
	return strings.Join(out, " ")
}

// behind is how many tokens before the end of its prompt a planted key stands.
func behind(t *tokenizer.Tokenizer, q question) int {
	text := q.c.Messages[q.at-1].Content
	at := strings.Index(text, " is "+q.c.Key+".")
	return t.Count(text[max(at, 0):])
}

// calls compares calls and says what is wrong with them.
func (s *scores) calls(want []call, got chat.Result) bool {
	calls := got.Message.ToolCalls
	fault := ""
	switch {
	case got.Malformed || got.Incomplete != nil || got.Unclosed:
		fault = "block does not parse"
	case len(calls) == 0:
		fault = "no call"
	case len(calls) != len(want):
		fault = "more or fewer calls"
	}
	names, args := fault == "", fault == ""
	for i := 0; i < len(want) && names; i++ {
		if calls[i].Name != want[i].Name {
			names, args, fault = false, false, "another tool"
			continue
		}
		if f := s.arguments(want[i].Arguments, calls[i].Arguments); f != "" {
			args, fault = false, f
		}
	}
	s.names.add(names)
	s.args.add(args)
	if fault != "" {
		s.faults[fault]++
	}
	return args
}

func (s *scores) arguments(want json.RawMessage, got string) (fault string) {
	var a, b map[string]any
	if json.Unmarshal(want, &a) != nil || json.Unmarshal([]byte(got), &b) != nil {
		return "arguments are no JSON object"
	}
	for _, k := range slices.Sorted(maps.Keys(a)) {
		v, ok := b[k]
		switch {
		case !ok:
			fault = "an argument is missing"
		case !count(s.values, kind(a[k])).add(reflect.DeepEqual(v, a[k])):
			fault = "value of " + kind(a[k])
		}
	}
	if len(b) > len(a) {
		fault = "an argument too many"
	}
	return fault
}

func kind(v any) string {
	switch v := v.(type) {
	case bool:
		return "a boolean"
	case float64:
		return "a number"
	case string:
		switch {
		case strings.Contains(v, " "):
			return "several words"
		case strings.ContainsAny(v, "/."):
			return "a path"
		case strings.ContainsAny(v, "0123456789-"):
			return "a code"
		}
		return "a word"
	}
	return "another type"
}

func (s *scores) report(w io.Writer) {
	p := func(name string, x share) {
		if x.of > 0 {
			_, _ = fmt.Fprintf(w, "%-24s %v\n", name, x)
		}
	}
	for _, k := range slices.Sorted(maps.Keys(s.answers)) {
		p(k, *s.answers[k])
	}
	_, _ = fmt.Fprintln(w)
	p("ends by itself", s.ends)
	p("calls: parse, right tool", s.names)
	p("calls: right arguments", s.args)
	p("no call where none is due", s.unexpected)
	for _, k := range slices.Sorted(maps.Keys(s.values)) {
		p("value of "+k, *s.values[k])
	}
	for _, k := range slices.Sorted(maps.Keys(s.faults)) {
		_, _ = fmt.Fprintf(w, "fault: %-26s %d\n", k, s.faults[k])
	}
	if s.keysBehind[1] > 0 {
		_, _ = fmt.Fprintf(w, "keys stand %d to %d tokens before the end\n", s.keysBehind[0], s.keysBehind[1])
	}
}
