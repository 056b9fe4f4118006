package stories

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/openai/openai-go/v3"
)

// key is what is planted in a document: what to ask for it, and what is to come back.
type key struct{ thing, owner, value string }

func (k key) planted() string {
	return fmt.Sprintf("Remember: the %s of %s is %s. ", k.thing, k.owner, k.value)
}
func (k key) question() string { return fmt.Sprintf("What is the %s of %s?", k.thing, k.owner) }
func (k key) answer() string   { return fmt.Sprintf("The %s of %s is %s.", k.thing, k.owner, k.value) }

// document is some plain sentences with keys among them, at equal distances.
func document(sentences int, keys []key) string {
	r := rand.New(rand.NewPCG(1, 2))
	pick := func(words string) string { w := strings.Fields(words); return w[r.IntN(len(w))] }
	const nouns, adjectives = "river mountain bridge winter lamp window table boat wheel cloud forest apple honey castle museum clock piano letter", "small quiet bright golden simple careful gentle brave calm clever warm dark"
	var b strings.Builder
	for i := range sentences {
		if n := sentences / (len(keys) + 1); i%n == n-1 && i/n < len(keys) {
			b.WriteString(keys[i/n].planted())
		}
		switch r.IntN(3) {
		case 0:
			fmt.Fprintf(&b, "The %s %s is near the %s. ", pick(adjectives), pick(nouns), pick(nouns))
		case 1:
			fmt.Fprintf(&b, "In %s the %s was %s. ", pick("Paris Oslo Lima Turin Porto Riga"), pick(nouns), pick("red green blue yellow black white"))
		default:
			fmt.Fprintf(&b, "%s can %s %d times. ", pick("Clara Felix Hana Karl Nina Victor"), pick("read turn build sing walk jump draw"), 2+r.IntN(90))
		}
	}
	return strings.TrimSpace(b.String())
}

// TestDocument has keys recalled from a document of 3,500 tokens: one when it is read, one from memory, and one after the
// program was stopped and started again, from disk.
func TestDocument(t *testing.T) {
	keys := []key{{"code", "Otto", "4817"}, {"room", "Grace", "BHU-43"}, {"password", "Sofia", "calm-river-7"}}
	disk := []string{"--kv-disk-dir", t.TempDir()}
	s := serve(t, disk...)
	c := openAI(s)
	p := question(plain, document(380, keys)+"\n\n"+keys[0].question())
	ask := func(k key, known int64) (tokens int64) {
		t.Helper()
		a, err := c.Chat.Completions.New(t.Context(), p)
		if err != nil {
			t.Fatalf("%s: %v\n%s", k.question(), err, s.Log())
		}
		u := a.Usage
		if got := a.Choices[0].Message.Content; got != k.answer() {
			t.Errorf("%s: after %d tokens: want %q, got %q", k.question(), u.PromptTokens, k.answer(), got)
		}
		if fresh := u.PromptTokens - u.PromptTokensDetails.CachedTokens; fresh > u.PromptTokens-known {
			t.Errorf("%s: want the %d new tokens of %d evaluated at most, got %d", k.question(), u.PromptTokens-known, u.PromptTokens, fresh)
		}
		p.Messages = append(p.Messages, a.Choices[0].Message.ToParam())
		return u.PromptTokens + u.CompletionTokens
	}
	known := ask(keys[0], 0)
	if known < 3500 {
		t.Errorf("want a document of 3500 tokens, got %d", known)
	}
	p.Messages = append(p.Messages, openai.UserMessage(keys[1].question()))
	known = ask(keys[1], known)
	s.Stop()

	s = serve(t, disk...)
	c = openAI(s)
	p.Messages = append(p.Messages, openai.UserMessage(keys[2].question()))
	known = ask(keys[2], known)
	if n := s.Metric(`ds4_prompts_total{source="disk"}`); n != 1 {
		t.Errorf("want one prompt that begins on the disk, got %g", n)
	}
	p.Messages = append(p.Messages, openai.UserMessage(keys[0].question()))
	ask(keys[0], known)
}

// two people, and what each tells the model.
var pair = [2]key{{"code", "Anna", "4817"}, {"code", "Anna", "HTR-902"}}

// TestInterleaved has two conversations take turns, message by message; each knows its own key only.
func TestInterleaved(t *testing.T) {
	s := serve(t, "--sessions", "1") // so that each takes the other's place
	c := openAI(s)
	var p [2]openai.ChatCompletionNewParams
	for i := range p {
		p[i] = question(plain, pair[i].planted())
	}
	between := [][2]string{{"What is 12 + 30?", "12 + 30 = 42."}, {"Count from 3 to 7.", "3, 4, 5, 6, 7."}}
	for turn := range 4 {
		for i := range p {
			a, err := c.Chat.Completions.New(t.Context(), p[i])
			if err != nil {
				t.Fatal(err)
			}
			got, want := a.Choices[0].Message.Content, "I will remember the code of Anna."
			switch turn {
			case 1, 2:
				want = between[turn-1][1]
			case 3:
				want = pair[i].answer()
			}
			if got != want {
				t.Errorf("conversation %d, turn %d: want %q, got %q", i, turn, want, got)
			}
			if turn > 0 && a.Usage.PromptTokensDetails.CachedTokens == 0 {
				t.Errorf("conversation %d, turn %d: want its beginning known, got nothing of %d tokens", i, turn, a.Usage.PromptTokens)
			}
			next := pair[i].question()
			if turn < 2 {
				next = between[turn][0]
			}
			p[i].Messages = append(p[i].Messages, a.Choices[0].Message.ToParam(), openai.UserMessage(next))
		}
	}
}
