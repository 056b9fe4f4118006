package bench

import (
	"bufio"
	"fmt"
	"html"
	"io"
	"math"
	"strconv"
	"strings"
)

// Sizes of the drawing, in pixels.
const (
	plotWidth, plotHeight = 960, 380
	panelWidth            = 400
	panelTop, panelBottom = 50, 330
)

// curve is one line of a panel.
type curve struct {
	name, colour string
	dashed       bool
	y            []float64
}

// WritePlot draws the rows as SVG: prefill and decode speed over the context, and beside the latter what the measured
// memory would allow.
func WritePlot(w io.Writer, title string, rows []Row) error {
	b := bufio.NewWriter(w)
	x := make([]float64, len(rows))
	prefill := curve{name: "measured", colour: "#1f6feb"}
	decode := curve{name: "measured", colour: "#1a7f37"}
	limit := curve{name: "memory's ceiling", colour: "#9a6700", dashed: true}
	for i, r := range rows {
		x[i] = float64(r.Context)
		prefill.y, decode.y = append(prefill.y, r.PrefillTPS), append(decode.y, r.GenTPS)
		if r.CeilingTPS > 0 {
			limit.y = append(limit.y, r.CeilingTPS)
		}
	}
	curves := []curve{decode}
	if len(limit.y) == len(rows) {
		curves = append(curves, limit)
	}
	begin(b, title, plotHeight)
	panel(b, 60, "prefill, tokens/s", x, math.Log2, []curve{prefill})
	panel(b, 540, "decode, tokens/s", x, math.Log2, curves)
	_, _ = fmt.Fprintln(b, "</svg>")
	if err := b.Flush(); err != nil {
		return fmt.Errorf("bench: %w", err)
	}
	return nil
}

// begin writes what comes before the panels. The writer keeps its first error.
func begin(w *bufio.Writer, title string, height int) {
	_, _ = fmt.Fprintf(w, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="12">`+"\n", plotWidth, height)
	_, _ = fmt.Fprintf(w, `<rect width="%d" height="%d" fill="white"/><text x="20" y="22" font-size="14">%s</text>`+"\n", plotWidth, height, html.EscapeString(title))
}

// panel draws one diagram: x ascending on the given scale, y from zero.
func panel(w io.Writer, left int, title string, x []float64, scale func(float64) float64, curves []curve) {
	if len(x) == 0 {
		return
	}
	top := 0.0
	for _, c := range curves {
		for _, y := range c.y {
			top = math.Max(top, y)
		}
	}
	step := niceStep(top)
	top = math.Max(math.Ceil(top/step), 1) * step
	lo, hi := scale(x[0]), scale(x[len(x)-1])
	px := func(v float64) float64 {
		if hi == lo {
			return float64(left) + panelWidth/2
		}
		return float64(left) + panelWidth*(scale(v)-lo)/(hi-lo)
	}
	py := func(v float64) float64 { return panelBottom - (panelBottom-panelTop)*v/top }
	_, _ = fmt.Fprintf(w, `<text x="%d" y="%d">%s</text>`+"\n", left, panelTop-10, html.EscapeString(title))
	for i := 0; float64(i)*step <= top*1.001; i++ {
		y := py(float64(i) * step)
		_, _ = fmt.Fprintf(w, `<path d="M%d %.1fh%d" stroke="#d0d7de"/><text x="%d" y="%.1f" text-anchor="end">%.4g</text>`+"\n", left, y, panelWidth, left-6, y+4, float64(i)*step)
	}
	last := math.Inf(-1)
	for _, v := range x {
		if at := px(v); at-last >= 48 {
			_, _ = fmt.Fprintf(w, `<text x="%.1f" y="%d" text-anchor="middle">%s</text>`+"\n", at, panelBottom+18, strconv.FormatFloat(v, 'f', -1, 64))
			last = at
		}
	}
	for k, c := range curves {
		var points strings.Builder
		for i, y := range c.y {
			fmt.Fprintf(&points, "%.1f,%.1f ", px(x[i]), py(y))
			if !c.dashed {
				_, _ = fmt.Fprintf(w, `<circle cx="%.1f" cy="%.1f" r="3" fill="%s"/>`+"\n", px(x[i]), py(y), c.colour)
			}
		}
		dash := ""
		if c.dashed {
			dash = ` stroke-dasharray="6 4"`
		}
		_, _ = fmt.Fprintf(w, `<polyline points="%s" fill="none" stroke="%s" stroke-width="2"%s/>`+"\n", strings.TrimSpace(points.String()), c.colour, dash)
		_, _ = fmt.Fprintf(w, `<text x="%d" y="%d" fill="%s">%s</text>`+"\n", left+130*(k%3), panelBottom+38+16*(k/3), c.colour, html.EscapeString(c.name))
	}
}

// niceStep is 1, 2 or 5 times a power of ten, at most ten of which make top.
func niceStep(top float64) float64 {
	if !(top > 0) {
		return 1
	}
	unit := math.Pow(10, math.Floor(math.Log10(top/10)))
	for _, m := range []float64{1, 2, 5} {
		if unit*m*10 >= top {
			return unit * m
		}
	}
	return unit * 10
}
