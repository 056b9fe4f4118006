package inspectcmd

import (
	"cmp"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"

	"github.com/ds4-go/ds4/cmd/internal/cli"
	"github.com/ds4-go/ds4/modules/gguf"
	"github.com/ds4-go/ds4/modules/model"
	"github.com/ds4-go/ds4/modules/model/synth"
)

// overview says in a few lines what the file is.
func overview(w io.Writer, f *gguf.File, path string) {
	label(w, "file", "%s, %s (%d bytes)", path, cli.Bytes(f.Size()), f.Size())
	label(w, "format", "GGUF version %d, alignment %d, header %s", f.Version(), f.Alignment(), cli.Bytes(f.HeaderSize()))
	arch, err := f.Architecture()
	if err != nil {
		arch = "no architecture"
	}
	name, _ := f.String("general.name") // may be missing
	label(w, "model", "%s", strings.TrimSpace(name+" ("+arch+")"))
	if demo, _ := synth.IsDemo(f); demo {
		label(w, "", "the demo model: small, and often wrong")
	}
	total := uint64(0)
	for t := range f.Tensors() {
		total += t.Bytes
	}
	label(w, "contents", "metadata keys: %d, tensors: %d of %s: %s", f.NumKVs(), f.NumTensors(), cli.Bytes(int64(total)), typeMix(f))
	if n := missing(f); n > 0 {
		label(w, "incomplete", "%s of weights are missing", cli.Bytes(n))
	}
	s, err := model.ReadShape(f)
	if err != nil {
		label(w, "shape", "ds4 cannot run it: %v", err)
		return
	}
	label(w, "shape", "%d layers, width %d, vocabulary %d", s.Layers, s.Embd, s.Vocab)
	label(w, "attention", "%d heads of %d, window %d, compression %s", s.Heads, s.HeadDim, s.Window, ratioMix(s))
	label(w, "experts", "%d of %d, width %d, first %d layers by token", s.ActiveExps, s.Experts, s.ExpertDim, s.Hash)
}

// typeMix lists the tensor types by size: "iq2_xxs 52.1 GiB, …".
func typeMix(f *gguf.File) string {
	sizes := map[string]uint64{}
	for t := range f.Tensors() {
		sizes[t.TypeName()] += t.Bytes
	}
	var names []string
	for n := range sizes {
		names = append(names, n)
	}
	slices.SortFunc(names, func(a, b string) int {
		return cmp.Or(cmp.Compare(sizes[b], sizes[a]), strings.Compare(a, b))
	})
	for i, n := range names {
		names[i] = n + " " + cli.Bytes(int64(sizes[n]))
	}
	return strings.Join(names, ", ")
}

func ratioMix(s model.Shape) string {
	count := map[int]int{}
	for _, r := range s.Ratio {
		count[r]++
	}
	var parts []string
	for _, r := range []int{0, 4, 128} {
		if count[r] > 0 {
			name := fmt.Sprintf("1/%d", r)
			if r == 0 {
				name = "none"
			}
			parts = append(parts, fmt.Sprintf("%s in %d layers", name, count[r]))
			delete(count, r)
		}
	}
	if len(count) > 0 {
		parts = append(parts, "others")
	}
	return strings.Join(parts, ", ")
}

// writeTable prints the whole file: overview, metadata, tensors.
func writeTable(w io.Writer, f *gguf.File, path string, all bool) {
	overview(w, f, path)
	width := 0
	for kv := range f.KVs() {
		width = max(width, len(kv.Key))
	}
	_, _ = fmt.Fprintln(w, "\nmetadata:")
	for kv := range f.KVs() {
		_, _ = fmt.Fprintf(w, "  %-*s  %s\n", width, kv.Key, kv.String())
	}
	rows := tensorRows(f, all)
	width = 0
	shape := 0
	for _, r := range rows {
		width, shape = max(width, len(r.name)), max(shape, len(r.shape))
	}
	_, _ = fmt.Fprintln(w, "\ntensors:")
	for _, r := range rows {
		n := ""
		if r.count > 1 {
			n = fmt.Sprintf("  ×%d", r.count)
		}
		_, _ = fmt.Fprintf(w, "  %-*s  %-*s  %10s%s\n", width, r.name, shape, r.shape, cli.Bytes(int64(r.bytes)), n)
	}
}

type row struct {
	name, shape string
	count       int
	bytes       uint64
}

var layerName = regexp.MustCompile(`^blk\.\d+\.`)

// tensorRows is a row per tensor, or one per name and shape where layers are taken together.
func tensorRows(f *gguf.File, all bool) []row {
	var rows []row
	at := map[string]int{}
	for t := range f.Tensors() {
		r := row{t.Name, t.String(), 1, t.Bytes}
		if !all {
			r.name = layerName.ReplaceAllString(t.Name, "blk.*.")
			if i, ok := at[r.name+r.shape]; ok {
				rows[i].count++
				rows[i].bytes += t.Bytes
				continue
			}
			at[r.name+r.shape] = len(rows)
		}
		rows = append(rows, r)
	}
	return rows
}
