package serve

import (
	"strings"
	"testing"

	"github.com/ds4-go/ds4/modules/model/chat"
	"github.com/ds4-go/ds4/modules/model/tokenizer"
	"github.com/ds4-go/ds4/modules/serve/servetest"
)

// TestAnchor: what is stable at the beginning of a prompt ends where the last turn of a user before the first answer begins,
// whatever stands in front of the system text and however many turns follow.
func TestAnchor(t *testing.T) {
	tok := servetest.Tokenizer()
	ask := chat.Message{Role: chat.RoleUser, Content: "How is it?"}
	answer := chat.Message{Role: chat.RoleAssistant, Content: "It is " + tokenizer.User + "."}
	system := chat.Message{Role: chat.RoleSystem, Content: "Be brief."}
	more := chat.Message{Role: chat.RoleSystem, Content: "Be kind."}
	developer := chat.Message{Role: chat.RoleDeveloper, Content: "Be quick."}
	for name, c := range map[string]struct {
		msgs []chat.Message
		want string // that the anchor's text ends so
	}{
		"one turn":      {[]chat.Message{system, ask}, "Be brief."},
		"two systems":   {[]chat.Message{system, more, ask}, "Be kind."},
		"three turns":   {[]chat.Message{system, ask, answer, ask, answer, ask}, "Be brief."},
		"two users":     {[]chat.Message{system, ask, ask}, "Be brief."},
		"developer":     {[]chat.Message{system, developer, ask}, "Be quick."},
		"no system":     {[]chat.Message{ask, answer, ask}, ""},
		"greeting":      {[]chat.Message{system, answer, ask}, tokenizer.EOS},
		"nothing asked": {[]chat.Message{system}, ""},
	} {
		for _, thinking := range []chat.Thinking{chat.Off, chat.Max} {
			segments, err := chat.Render(c.msgs, chat.Options{Thinking: thinking, KeepReasoning: true})
			if err != nil {
				t.Fatal(err)
			}
			p := newPrompts(tok).build(segments)
			got, err := tok.Decode(nil, p.Tokens[:p.Anchor])
			if err != nil || !strings.HasSuffix(string(got), c.want) || (p.Anchor == 0) != (c.want == "") {
				t.Errorf("%s, %s: want an anchor after %q, got %q, %v", name, thinking, c.want, got, err)
			}
		}
	}
}
