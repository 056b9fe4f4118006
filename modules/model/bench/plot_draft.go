package bench

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"slices"
)

// draftColours are those of the controller's two answers, then of depths.
var draftColours = []string{"#9a6700", "#1a7f37", "#1f6feb", "#8250df", "#bf3989", "#cf222e", "#0a3069"}

// WriteDraftPlot draws the rows of RunDraft as SVG: what a step of so many rows costs over one, and beside it tokens per second
// over the probability that a guess is right, for each depth and as the controller decides.
func WriteDraftPlot(w io.Writer, title string, rows []DraftRow) error {
	b := bufio.NewWriter(w)
	var x []float64
	cost := curve{name: "time over one row", colour: draftColours[2]}
	for _, r := range rows {
		if r.Kind == "verify" {
			x, cost.y = append(x, float64(r.Rows)), append(cost.y, r.Over)
		}
	}
	same := func(v float64) float64 { return v }
	begin(b, title, plotHeight+40)
	panel(b, 60, "rows in a step", x, same, []curve{cost})
	probs, curves := replayCurves(rows)
	panel(b, 540, "tokens/s by the probability of a right guess", probs, same, curves)
	_, _ = fmt.Fprintln(b, "</svg>")
	if err := b.Flush(); err != nil {
		return fmt.Errorf("bench: %w", err)
	}
	return nil
}

// replayCurves are speeds by depth over the probabilities that every depth has a run of.
func replayCurves(rows []DraftRow) (probs []float64, curves []curve) {
	type key struct {
		depth, answer int
		p             float64
	}
	speed, off := map[key]float64{}, 0.0
	var lines []key
	for _, r := range rows {
		switch r.Kind {
		case "off":
			off = max(off, r.TPS)
		case "replay":
			speed[key{r.Depth, r.Answer, r.P}] = r.TPS
			if line := (key{depth: r.Depth, answer: r.Answer}); !slices.Contains(lines, line) {
				lines = append(lines, line)
			}
			if !slices.Contains(probs, r.P) {
				probs = append(probs, r.P)
			}
		}
	}
	slices.Sort(probs)
	probs = slices.DeleteFunc(probs, func(p float64) bool {
		return slices.ContainsFunc(lines, func(l key) bool { return speed[key{l.depth, l.answer, p}] == 0 })
	})
	slices.SortFunc(lines, func(a, b key) int { return cmp.Or(a.depth-b.depth, a.answer-b.answer) })
	for i, l := range lines {
		c := curve{name: fmt.Sprintf("depth %d", l.depth), colour: draftColours[i%len(draftColours)]}
		if l.depth == Controlled {
			c.name = [...]string{"controller, first", "controller, second"}[min(max(l.answer-1, 0), 1)]
		}
		for _, p := range probs {
			c.y = append(c.y, speed[key{l.depth, l.answer, p}])
		}
		curves = append(curves, c)
	}
	none := curve{name: "no guesses", colour: "#57606a", dashed: true}
	for range probs {
		none.y = append(none.y, off)
	}
	return probs, append(curves, none)
}
