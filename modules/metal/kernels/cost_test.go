//go:build linux && amd64

package kernels_test

import (
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/ds4-go/ds4/modules/metal/kernels"
)

var (
	memory = regexp.MustCompile(`(\d+) bytes of threadgroup memory( and 2048 of the codebook where it is IQ2_XXS)?`)
	typed  = regexp.MustCompile(`^(experts_.*)_(iq2_xxs|q2_k|q4_k|mxfp4)$`)
)

// comments are the sources' "Cost of NAME: …", each up to the end of its comment or the next.
func comments() map[string]string {
	out, name := map[string]string{}, ""
	for line := range strings.Lines(kernels.Source()) {
		text, ok := strings.CutPrefix(strings.TrimSuffix(line, "\n"), "// ")
		if rest, first := strings.CutPrefix(text, "Cost of "); ok && first {
			name, text, _ = strings.Cut(rest, ": ")
			out[name] = text
		} else if ok && name != "" {
			out[name] += " " + text
		} else {
			name = ""
		}
	}
	return out
}

// TestCosts: above every kernel stands what it moves, its threadgroup, registers and memory, and what to try where it is slow. The
// memory is what the compiler says.
func TestCosts(t *testing.T) {
	costs := comments()
	d := open(t)
	l, err := d.Compile(kernels.Source(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Release()
	for _, name := range kernels.Names() {
		family := name
		m := typed.FindStringSubmatch(name)
		if m != nil {
			family = m[1]
		}
		text := costs[family]
		for _, part := range []string{"moves ", "Threadgroup: ", " threads", " registers", "If slow: "} {
			if !strings.Contains(text, part) {
				t.Errorf("%s: its comment lacks %q: %q", family, part, text)
			}
		}
		p, err := l.Pipeline(name)
		if err != nil {
			t.Error(err)
			continue
		}
		said := memory.FindStringSubmatch(text)
		if said == nil {
			t.Errorf("%s: its comment lacks the threadgroup memory", family)
		} else {
			n, _ := strconv.Atoi(said[1])
			if said[2] != "" && m[2] == "iq2_xxs" {
				n += 2048
			}
			if n != p.GroupBytes {
				t.Errorf("%s: %d bytes of threadgroup memory in its comment, %d in truth", name, n, p.GroupBytes)
			}
		}
		p.Release()
	}
}
