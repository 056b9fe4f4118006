package servetest

import (
	"fmt"
	"slices"
	"strings"

	"github.com/ds4-go/ds4/modules/model/tokenizer"
)

// words are tokens of more than one byte, so that text can be cut in more ways than one.
var words = []string{"the", " the", " is", "Hello", " world", "ing", "tool_calls", "invoke", "parameter", "name", "string", "true", "false", "\n\n"}

// Tokenizer is a byte-level one of some 350 tokens, with the special tokens of the model.
func Tokenizer() *tokenizer.Tokenizer {
	v := tokenizer.Vocab{}
	index := map[string]bool{}
	add := func(token string, typ int32) {
		if !index[token] {
			index[token] = true
			v.Tokens, v.Types = append(v.Tokens, token), append(v.Types, typ)
		}
	}
	for _, s := range []string{tokenizer.BOS, tokenizer.EOS, "<｜▁pad▁｜>", tokenizer.User, tokenizer.Assistant, tokenizer.Think,
		tokenizer.EndThink, tokenizer.DSML, "<｜latest_reminder｜>", "<｜fim▁hole｜>", "<｜fim▁begin｜>", "<｜fim▁end｜>"} {
		add(s, 3)
	}
	for b := range 256 {
		add(letter(byte(b)), 1)
	}
	var merges []string
	for _, w := range words {
		left := letter(w[0])
		for i := 1; i < len(w); i++ {
			right := letter(w[i])
			if !index[left+right] {
				merges = append(merges, left+" "+right)
			}
			add(left+right, 1)
			left += right
		}
	}
	v.Merges = slices.Values(merges)
	t, err := tokenizer.New(v, tokenizer.Options{})
	if err != nil {
		panic(fmt.Sprintf("servetest: %v", err)) // the vocabulary is ours
	}
	return t
}

// letter spells a byte as byte-level vocabularies do.
func letter(b byte) string {
	shown := func(b int) bool { return b > ' ' && b < 0x7f || b > 0xa0 && b != 0xad }
	if shown(int(b)) {
		return string(rune(b))
	}
	n := 0
	for i := range int(b) {
		if !shown(i) {
			n++
		}
	}
	return string(rune(0x100 + n))
}

// Pieces encodes pieces of a completion: each as the model would write it, tags as their tokens. A piece may end inside
// a character.
func Pieces(t *tokenizer.Tokenizer, pieces []string) []int32 {
	var ids []int32
	for _, p := range pieces {
		ids = t.EncodeTemplate(ids, p)
	}
	return ids
}

// Text is the text of tokens.
func Text(t *tokenizer.Tokenizer, ids []int32) string {
	var b strings.Builder
	for _, id := range ids {
		b.WriteString(t.Text(id))
	}
	return b.String()
}
