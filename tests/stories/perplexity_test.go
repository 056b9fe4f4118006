package stories

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/ds4-go/ds4/modules/model/demo"
	"github.com/ds4-go/ds4/modules/model/tokenizer"
	"github.com/ds4-go/ds4/tests/internal/program"
)

// Bounds of "ds4 perplexity" on conversations that the demo model never saw. The float model in PyTorch has 1.0002 on these;
// it is sure of nearly every token, so a fault in the file or the engine shows at once.
const (
	mostPerplexity = 1.005
	mostLoss       = 0.002 // nats a token more than the float model's
)

// TestPerplexity scores held-out conversations with the shipped file, as a user does, and compares with what the float model
// made of the same tokens.
func TestPerplexity(t *testing.T) {
	if testing.Short() {
		t.Skip("runs the demo model for seconds")
	}
	text, float := heldOut(t, 5)
	file := filepath.Join(t.TempDir(), "held-out.txt")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	var got struct {
		Scored int     `json:"scored"`
		Mean   float64 `json:"avg_nll"`
		PPL    float64 `json:"ppl"`
	}
	if err := json.Unmarshal([]byte(program.Run(t, "perplexity", file, "--chat", "--json", "--demo", "--cpu")), &got); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d tokens, perplexity %.5f, float %.5f", got.Scored, got.PPL, math.Exp(mean(float)))
	if got.Scored != len(float) || !(got.PPL <= mostPerplexity) || !(got.Mean-mean(float) <= mostLoss) {
		t.Errorf("want %d tokens, a perplexity of at most %g and at most %g nats more than the float model's %.5f, got %+v",
			len(float), mostPerplexity, mostLoss, mean(float), got)
	}
}

func mean(v []float64) float64 {
	sum := 0.0
	for _, x := range v {
		sum += x
	}
	return sum / float64(len(v))
}

// heldOut is the first n held-out conversations as text, with the float model's negative log-probabilities of the answers.
func heldOut(t *testing.T, n int) (text string, nll []float64) {
	t.Helper()
	b, err := os.ReadFile(filepath.FromSlash("../../modules/model/demo/testdata/vectors.json"))
	if err != nil {
		t.Fatal(err)
	}
	var vectors []struct {
		IDs      []int32   `json:"ids"`
		Spans    [][3]any  `json:"spans"` // start, end, skill of every answer
		Logprobs []float64 `json:"logprobs"`
	}
	if err := json.Unmarshal(b, &vectors); err != nil {
		t.Fatal(err)
	}
	f, err := demo.File()
	if err != nil {
		t.Fatal(err)
	}
	tok, err := tokenizer.FromGGUF(f, tokenizer.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range vectors[:min(n, len(vectors))] {
		words, err := tok.Decode(nil, v.IDs)
		if err != nil {
			t.Fatal(err)
		}
		text += string(words)
		for _, s := range v.Spans {
			for i := int(s[0].(float64)); i < int(s[1].(float64)); i++ {
				nll = append(nll, -v.Logprobs[i-1])
			}
		}
	}
	return text, nll
}
