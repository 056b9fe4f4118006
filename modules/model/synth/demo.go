package synth

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/ds4-go/ds4/modules/gguf"
	"github.com/ds4-go/ds4/modules/model"
)

// KeyDemo marks the demo model. Its value is the revision of its making: a cached file of another one is stale.
const KeyDemo = "ds4.demo"

// DemoRevision changes whenever Demo makes other bytes.
const DemoRevision = 2

// Demo plans the demo model: a small file with every layer kind, a byte-level BPE vocabulary and the special tokens of
// the real one, the same bytes each time (14 MB). Its weights are noise, so what it writes is a salad of its own words.
//
//	w, err := synth.Demo()
//	err = w.WriteFile("demo.gguf")
func Demo() (*gguf.Writer, error) {
	v := demoVocab()
	t := T1()
	t.Name, t.Shape.Vocab = "demo", len(v.tokens)
	w := gguf.NewWriter()
	var err error
	add := func(key string, value any) {
		if err == nil {
			err = w.Add(key, value)
		}
	}
	add(gguf.KeyArchitecture, model.Architecture)
	add("general.name", "ds4 demo (its text is noise)")
	add(KeyDemo, uint32(DemoRevision))
	model.Metadata(t.Shape, add)
	add(model.Architecture+".context_length", uint32(1<<20))
	v.metadata(add)
	if err != nil {
		return nil, fmt.Errorf("synth: demo: %w", err)
	}
	err = t.Tensors(func(g gguf.Tensor, data []byte) error {
		if g.Name == "output.weight" {
			v.favour(data, t.Shape.Embd)
		}
		return w.AddTensor(g.Name, g.Type, g.Dims, gguf.Bytes(data))
	})
	return w, err
}

// DemoFile is the demo model as an open file in memory.
func DemoFile() (*gguf.File, error) {
	w, err := Demo()
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	b.Grow(int(w.Size()))
	if _, err := w.WriteTo(&b); err != nil {
		return nil, err
	}
	return gguf.ParseBytes(b.Bytes())
}

// IsDemo says whether a file is a demo model, and whether this package would make the same one.
func IsDemo(f *gguf.File) (demo, current bool) {
	rev, err := f.Uint32(KeyDemo)
	return err == nil, err == nil && rev == DemoRevision
}

// favour turns the noise into words: the output rows of whole words, and of the token that ends an answer, get three times
// the scale, and those of all other tokens none, so that a sampler hardly ever takes one. Among these are lone bytes, which
// a terminal should not be sent.
func (v *vocab) favour(data []byte, width int) {
	row := width / gguf.QK8_0 * gguf.Q8_0Bytes
	for id, good := range v.spoken {
		for b := id * row; b < (id+1)*row; b += gguf.Q8_0Bytes {
			d := float32(0)
			if good {
				d = 3 * gguf.Float16ToFloat32(binary.LittleEndian.Uint16(data[b+gguf.Q8_0OffD:]))
			}
			binary.LittleEndian.PutUint16(data[b+gguf.Q8_0OffD:], gguf.Float32ToFloat16(d))
		}
	}
}

// vocab is a vocabulary while it is made.
type vocab struct {
	tokens []string
	types  []int32 // as in GGUF: 1 ordinary, 3 control, 4 user-defined
	merges []string
	spoken []bool // what the model may say
	ids    map[string]int
}

func (v *vocab) add(token string, typ int32, spoken bool) {
	v.ids[token] = len(v.tokens)
	v.tokens, v.types, v.spoken = append(v.tokens, token), append(v.types, typ), append(v.spoken, spoken)
}

// word adds the merges that make a word, letter by letter from its start, and the token that they end in.
func (v *vocab) word(letters []string, spoken bool) {
	left := letters[0]
	for _, l := range letters[1:] {
		next := left + l
		if _, ok := v.ids[next]; !ok {
			v.merges = append(v.merges, left+" "+l)
			v.add(next, 1, false)
		}
		left = next
	}
	v.spoken[v.ids[left]] = spoken
}

func (v *vocab) metadata(add func(key string, value any)) {
	add("tokenizer.ggml.model", "gpt2")
	add("tokenizer.ggml.pre", "joyai-llm")
	add("tokenizer.ggml.tokens", v.tokens)
	add("tokenizer.ggml.token_type", v.types)
	add("tokenizer.ggml.merges", v.merges)
	add("tokenizer.ggml.bos_token_id", uint32(0))
	add("tokenizer.ggml.eos_token_id", uint32(1))
	add("tokenizer.ggml.padding_token_id", uint32(2))
	add("tokenizer.ggml.add_bos_token", false)
}

// alphabet spells byte b as byte-level vocabularies do: itself if it can be seen, else a letter from U+0100 up.
func alphabet(b int) string {
	seen := func(b int) bool { return b > ' ' && b < 0x7f || b > 0xa0 && b != 0xad && b <= 0xff }
	if seen(b) {
		return string(rune(b))
	}
	n := 0
	for i := range b {
		if !seen(i) {
			n++
		}
	}
	return string(rune(0x100 + n))
}

func demoVocab() *vocab {
	v := &vocab{ids: map[string]int{}}
	for i, s := range demoFirst {
		v.add(s, 3, i == 1) // the end of an answer
	}
	for b := range 256 {
		v.add(alphabet(b), 1, bytes.IndexByte([]byte(".,!?"), byte(b)) >= 0)
	}
	for _, w := range demoWords {
		v.word(slices.Collect(letters(" "+w)), true)
	}
	for _, w := range demoOpeners {
		v.word(slices.Collect(letters(w)), false) // understood, not said: nothing parts it from the word before
	}
	for _, s := range demoSpecials {
		v.add(s, 3, false)
	}
	for _, s := range demoTags {
		v.add(s, 4, false)
	}
	return v
}

func letters(w string) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for i := range len(w) {
			if !yield(alphabet(int(w[i]))) {
				return
			}
		}
	}
}
