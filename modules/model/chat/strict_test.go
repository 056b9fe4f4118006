package chat

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/ds4-go/ds4/modules/model/tokenizer"
)

// parseStrict is the published parser: the grammar exactly, EOS included, anything else an error. It is what Parser is
// held against: where parseStrict has an answer, Parser must have the same one, however the text is cut. String values
// are JSON-encoded, others inserted as they are.
func parseStrict(text string, thinking bool) (m Message, err error) {
	text, ok := strings.CutSuffix(text, tokenizer.EOS)
	if !ok {
		return m, errors.New("no end of sentence")
	}
	if thinking {
		if m.Reasoning, text, ok = strings.Cut(text, tokenizer.EndThink); !ok {
			return m, errors.New("reasoning does not end")
		}
	}
	text, rest, calls := strings.Cut(text, "\n\n<｜DSML｜tool_calls")
	m.Content = text
	for _, stray := range []string{tokenizer.BOS, tokenizer.EOS, tokenizer.Think, tokenizer.EndThink, tokenizer.DSML} {
		if strings.Contains(m.Content, stray) || strings.Contains(m.Reasoning, stray) {
			return m, fmt.Errorf("stray %s", stray)
		}
	}
	if !calls {
		return m, nil
	}
	if rest, ok = strings.CutPrefix(rest, ">\n"); !ok {
		return m, errors.New("start tag")
	}
	for {
		var c ToolCall
		if c, rest, err = strictCall(rest); err != nil {
			return m, err
		}
		m.ToolCalls = append(m.ToolCalls, c)
		if rest == "</｜DSML｜tool_calls>" {
			return m, nil
		}
	}
}

func strictCall(s string) (c ToolCall, rest string, err error) {
	s, ok := strings.CutPrefix(s, `<｜DSML｜invoke name="`)
	if !ok {
		return c, "", errors.New("call expected")
	}
	if c.Name, s, ok = strings.Cut(s, `"`); !ok || c.Name == "" || !strings.HasPrefix(s, ">\n") {
		return c, "", errors.New("call name")
	}
	s = s[2:]
	var params []string
	seen := map[string]bool{}
	for {
		// An empty list leaves an empty line, or none.
		if rest, ok = strings.CutPrefix(strings.TrimPrefix(s, "\n"), "</｜DSML｜invoke>\n"); ok {
			c.Arguments = "{" + strings.Join(params, ", ") + "}"
			return c, rest, nil
		}
		if s, ok = strings.CutPrefix(s, `<｜DSML｜parameter name="`); !ok {
			return c, "", errors.New("parameter expected")
		}
		var name, value string
		if name, s, ok = strings.Cut(s, `"`); !ok || seen[name] {
			return c, "", errors.New("parameter name")
		}
		seen[name] = true
		var isString bool
		if rest, ok = strings.CutPrefix(s, ` string="true">`); ok {
			isString = true
		} else if rest, ok = strings.CutPrefix(s, ` string="false">`); !ok {
			return c, "", errors.New("string attribute")
		}
		if value, s, ok = strings.Cut(rest, "</｜DSML｜parameter>\n"); !ok || strings.Contains(value, tokenizer.DSML) {
			return c, "", errors.New("parameter does not end")
		}
		if isString {
			value = quote(value)
		}
		params = append(params, quote(name)+": "+value)
	}
}

// quote writes a JSON string that escapes what must be; bytes that are not UTF-8 become U+FFFD, one each.
func quote(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		if r >= ' ' && r != '"' && r != '\\' {
			b.WriteRune(r)
			continue
		}
		escaped, _ := json.Marshal(string(r)) // a string, which does not fail
		b.Write(escaped[1 : len(escaped)-1])
	}
	b.WriteByte('"')
	return b.String()
}
