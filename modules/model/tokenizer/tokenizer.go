package tokenizer

import (
	"errors"
	"fmt"
	"iter"
	"math"
	"slices"
	"strings"
	"sync"
)

// Texts of the special tokens that every vocabulary must have. The bars are U+FF5C, the low lines U+2581.
const (
	BOS       = "<｜begin▁of▁sentence｜>"
	EOS       = "<｜end▁of▁sentence｜>"
	User      = "<｜User｜>"
	Assistant = "<｜Assistant｜>"
	Think     = "<think>"
	EndThink  = "</think>"
	DSML      = "｜DSML｜" // without angle brackets: the tag <｜DSML｜invoke is "<", this token, ordinary text
)

// required lists the special tokens in the order of the fields of IDs. They are also the only ones that the ds4 engine
// recognises in a rendered prompt.
var required = [...]string{BOS, EOS, User, Assistant, Think, EndThink, DSML}

// ErrVocab is wrapped by every complaint about the data a tokenizer is built from.
var ErrVocab = errors.New("unusable vocabulary")

// Vocab is what a model file says about its tokens.
type Vocab struct {
	// Tokens by id, in the file's spelling: byte-level alphabet for ordinary tokens, plain text for special ones.
	Tokens []string
	// Types by id as in GGUF: 1 is an ordinary token, anything else (3 control, 4 user-defined) is special. When nil,
	// the special tokens are those that the byte-level alphabet cannot spell, <think> and </think>.
	Types []int32
	// Merges in order of rank, each "left right".
	Merges iter.Seq[string]
}

// Options change what a tokenizer does. The zero value is the published definition.
type Options struct {
	// DS4 cuts text as the ds4 engine does and recognises only its seven special tokens in template text. It differs
	// from the published definition next to some non-ASCII punctuation and white space; for comparisons only.
	DS4 bool
	// AnyPre uses the splitter of this package for a model file that names another one.
	AnyPre bool
	// Unknown is the text of the token that stands for bytes without a token of their own, in vocabularies too small
	// to have all 256. When empty, such a vocabulary is refused.
	Unknown string
}

// IDs are the ids of the special tokens named by the constants of this package.
type IDs struct {
	BOS, EOS, User, Assistant, Think, EndThink, DSML int32
}

// Tokenizer encodes and decodes. It is immutable and safe for concurrent use.
type Tokenizer struct {
	text    string   // the bytes of all tokens, one after the other
	offsets []uint32 // token id is text[offsets[id]:offsets[id+1]]
	special []bool   // by id
	ids     IDs

	byText   textTable        // ordinary tokens by their bytes
	specials map[string]int32 // special tokens by their text
	literals literalSet       // special tokens recognised in template text
	bytes    [256]int32       // token of each byte
	merges   mergeTable

	ds4    bool
	states sync.Pool // of *state
}

// New builds a tokenizer. It refuses a vocabulary that lacks one of the named special tokens, one of the 256 bytes
// (unless o.Unknown is set), or the parts or result of a merge; such errors wrap ErrVocab.
func New(v Vocab, o Options) (*Tokenizer, error) {
	if v.Types != nil && len(v.Types) != len(v.Tokens) {
		return nil, fmt.Errorf("tokenizer: %w: want %d token types, got %d", ErrVocab, len(v.Tokens), len(v.Types))
	}
	t := &Tokenizer{ds4: o.DS4}
	t.states.New = func() any { return new(state) }
	if err := t.addTokens(v); err != nil {
		return nil, err
	}
	if err := t.findSpecials(); err != nil {
		return nil, err
	}
	if err := t.findBytes(o.Unknown); err != nil {
		return nil, err
	}
	if err := t.addMerges(v.Merges); err != nil {
		return nil, err
	}
	return t, nil
}

// addTokens decodes all spellings into one text and sorts the ids into ordinary and special ones.
func (t *Tokenizer) addTokens(v Vocab) error {
	size := 0
	for _, s := range v.Tokens {
		size += len(s)
	}
	// Decoding never makes a token longer, so the sum bounds the offsets.
	if size > math.MaxUint32 || len(v.Tokens) >= math.MaxInt32 {
		return fmt.Errorf("tokenizer: %w: want tokens of less than 4 GiB in all, got %d tokens of %d bytes", ErrVocab, len(v.Tokens), size)
	}
	t.offsets = make([]uint32, len(v.Tokens)+1)
	t.special = make([]bool, len(v.Tokens))
	t.specials = make(map[string]int32)
	buf := make([]byte, 0, size)
	for id, s := range v.Tokens {
		isSpecial := s == Think || s == EndThink
		if v.Types != nil {
			isSpecial = v.Types[id] != 1
		}
		if !isSpecial {
			decoded, ok := appendDecoded(buf, s)
			if !ok && v.Types != nil {
				return fmt.Errorf("tokenizer: %w: token %d: want the byte-level alphabet, got %q", ErrVocab, id, s)
			}
			isSpecial = !ok
			if ok {
				buf = decoded
			}
		}
		if isSpecial {
			buf = append(buf, s...)
		}
		t.special[id] = isSpecial
		t.offsets[id+1] = uint32(len(buf))
	}
	t.text = string(buf)
	t.byText = newTextTable(len(v.Tokens))
	for id := range int32(len(v.Tokens)) {
		if !t.special[id] {
			t.byText.add(t, id)
			continue
		}
		// From our own text: the vocabulary's strings may be views of a file that will be closed.
		text := t.Text(id)
		if _, dup := t.specials[text]; !dup && text != "" {
			t.specials[text] = id
		}
	}
	return nil
}

func (t *Tokenizer) findSpecials() error {
	fields := [...]*int32{&t.ids.BOS, &t.ids.EOS, &t.ids.User, &t.ids.Assistant, &t.ids.Think, &t.ids.EndThink, &t.ids.DSML}
	for i, text := range required {
		id, ok := t.specials[text]
		if !ok {
			return fmt.Errorf("tokenizer: %w: want a special token %q, got none among %d tokens", ErrVocab, text, len(t.special))
		}
		*fields[i] = id
	}
	for text, id := range t.specials {
		if !t.ds4 || slices.Contains(required[:], text) {
			t.literals.add(text, id)
		}
	}
	t.literals.sort()
	return nil
}

func (t *Tokenizer) findBytes(unknown string) error {
	substitute := int32(-1)
	if unknown != "" {
		id, ok := t.ID(unknown)
		if !ok {
			return fmt.Errorf("tokenizer: %w: want the token %q for unknown bytes, got none of that text", ErrVocab, unknown)
		}
		substitute = id
	}
	for b := range t.bytes {
		id, ok := t.byText.find(t, []byte{byte(b)})
		if !ok {
			id = substitute
		}
		if id < 0 {
			return fmt.Errorf("tokenizer: %w: want a token for each of the 256 bytes, got none for 0x%02x", ErrVocab, b)
		}
		t.bytes[b] = id
	}
	return nil
}

// addMerges looks up, for every merge, the tokens it joins and the token it makes.
func (t *Tokenizer) addMerges(merges iter.Seq[string]) error {
	if merges == nil {
		return nil
	}
	t.merges = newMergeTable(len(t.special))
	var buf []byte
	rank := int32(0)
	for m := range merges {
		left, right, ok := strings.Cut(m, " ")
		if !ok {
			return fmt.Errorf("tokenizer: %w: merge %d: want two parts and a space, got %q", ErrVocab, rank, m)
		}
		// Both parts decoded side by side are the merged token.
		buf, ok = appendDecoded(buf[:0], left)
		cut := len(buf)
		var a, b, ab int32
		if ok {
			buf, ok = appendDecoded(buf, right)
		}
		if ok {
			a, ok = t.byText.find(t, buf[:cut])
		}
		if ok {
			b, ok = t.byText.find(t, buf[cut:])
		}
		if ok {
			ab, ok = t.byText.find(t, buf)
		}
		if !ok {
			return fmt.Errorf("tokenizer: %w: merge %d: want both parts of %q and their join as tokens, got fewer", ErrVocab, rank, m)
		}
		t.merges.add(a, b, rank, ab)
		rank++
	}
	return nil
}

// Len is the number of token ids.
func (t *Tokenizer) Len() int { return len(t.special) }

// Special ids by name.
func (t *Tokenizer) Special() IDs { return t.ids }

// SpecialID is the id of the special token with that text, such as "<｜User｜>".
func (t *Tokenizer) SpecialID(text string) (id int32, ok bool) {
	id, ok = t.specials[text]
	return id, ok
}

// ID is the id of the token with exactly these bytes: a special token, or else an ordinary one.
func (t *Tokenizer) ID(text string) (id int32, ok bool) {
	if id, ok := t.specials[text]; ok {
		return id, true
	}
	return t.byText.find(t, []byte(text))
}

// IsSpecial tells whether the id is that of a special token. Ids out of range are not.
func (t *Tokenizer) IsSpecial(id int32) bool {
	return id >= 0 && int(id) < len(t.special) && t.special[id]
}
