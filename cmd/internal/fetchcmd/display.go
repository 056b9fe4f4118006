package fetchcmd

import (
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/schollz/progressbar/v3"

	"github.com/ds4-go/ds4/cmd/internal/cli"
	"github.com/ds4-go/ds4/modules/fetch"
)

// display shows progress: a bar on a terminal, a line a minute in a log, an
// object a second as JSON.
type display struct {
	c     *command
	name  string
	bar   *progressbar.ProgressBar // nil between phases, and where there is no terminal
	live  bool
	phase fetch.Phase
	last  time.Time            // of the last line or object
	notes map[string]time.Time // when a note of this shape was last shown
}

const (
	logEvery  = time.Minute
	jsonEvery = time.Second
	noteEvery = 10 * time.Second
)

func (c *command) newDisplay(name string) *display {
	return &display{c: c, name: name, live: !c.opt.json && cli.IsTerminal(c.stderr), phase: -1, last: time.Now(), notes: map[string]time.Time{}}
}

func (d *display) progress(p fetch.Progress) {
	if p.Note != "" {
		d.note(p.Note)
	}
	if p.Phase != d.phase {
		d.close()
		d.phase = p.Phase
	}
	switch {
	case d.c.opt.json:
		if time.Since(d.last) >= jsonEvery {
			d.last = time.Now()
			d.c.event(map[string]any{"event": "progress", "name": d.name, "phase": p.Phase.String(), "bytes": p.Bytes, "total": p.Total,
				"rate": math.Round(p.Rate), "part": p.Part, "parts": p.Parts}, "")
		}
	case d.live:
		d.draw(p)
	case p.Total > 0 && time.Since(d.last) >= logEvery:
		d.last = time.Now()
		d.c.event(nil, "%s: %s", d.name, describe(p))
	}
}

// describe is a state in words: "fetching 12.3 GB of 86.7 GB (14%), 43 MB/s, 28 min left".
func describe(p fetch.Progress) string {
	var b strings.Builder
	b.WriteString(p.Phase.String())
	if p.Total == 0 {
		return b.String()
	}
	fmt.Fprintf(&b, " %s of %s (%d%%)", size(p.Bytes), size(p.Total), int64(float64(p.Bytes)/float64(p.Total)*100))
	if p.Rate > 0 {
		fmt.Fprintf(&b, ", %s/s", size(int64(p.Rate)))
	}
	if left := p.Remaining(); left > 0 {
		fmt.Fprintf(&b, ", %s left", clock(left))
	}
	return b.String()
}

// draw moves the bar. Its own rate and estimate count what was here before as
// fetched, so it shows ours.
func (d *display) draw(p fetch.Progress) {
	if p.Total == 0 {
		return
	}
	if d.bar == nil {
		d.bar = progressbar.NewOptions64(p.Total,
			progressbar.OptionSetWriter(d.c.stderr),
			progressbar.OptionFullWidth(),
			progressbar.OptionSetPredictTime(false),
			progressbar.OptionSetElapsedTime(false),
			progressbar.OptionClearOnFinish(),
			progressbar.OptionSetRenderBlankState(true))
	}
	text := fmt.Sprintf("%s %s of %s", p.Phase, size(p.Bytes), size(p.Total))
	if p.Rate > 0 {
		text += fmt.Sprintf(", %s/s", size(int64(p.Rate)))
	}
	if left := p.Remaining(); left > 0 {
		text += ", " + clock(left)
	}
	_ = d.bar.Set64(p.Bytes) // a terminal that is gone shows nothing
	d.bar.Describe(text)
}

// note shows a note, but not each of many that differ in numbers alone.
func (d *display) note(text string) {
	shape := strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' {
			return -1
		}
		return r
	}, text)
	if t, ok := d.notes[shape]; ok && time.Since(t) < noteEvery {
		return
	}
	d.notes[shape] = time.Now()
	if d.bar != nil {
		_ = d.bar.Clear()
	}
	d.c.event(map[string]any{"event": "note", "name": d.name, "text": text}, "%s", text)
}

// close takes the bar away.
func (d *display) close() {
	if d.bar != nil {
		_ = d.bar.Clear()
		d.bar = nil
	}
}
