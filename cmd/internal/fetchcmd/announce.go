package fetchcmd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"text/tabwriter"
	"time"

	"github.com/ds4-go/ds4/modules/fetch"
)

// probeAbove is the rest from which on it is worth measuring the line first.
const probeAbove = 1 << 30

// announce says what, how big, where to, how long, and whether this machine can run it.
func (c *command) announce(ctx context.Context, f File, r fetch.Request) (fetch.Info, error) {
	info, err := c.client.Stat(ctx, r)
	if err != nil {
		return info, err
	}
	s := c.state(f)
	rest := info.Size - s.have
	var rate float64
	if rest > probeAbove {
		if rate, err = c.client.Probe(ctx, r, 2*time.Second); err != nil {
			return info, err
		}
	}
	from := r.URL
	if from == "" {
		from = r.Repo + ", " + r.File
	}
	rev := r.Revision
	if rev == "" {
		rev = "main"
	}
	if info.Commit != "" {
		from += fmt.Sprintf(", %s at %.12s", rev, info.Commit)
	}
	c.event(map[string]any{"event": "start", "name": f.Name, "from": from, "path": r.Dest, "bytes": info.Size, "have": s.have,
		"rate": rate, "memory_needed": f.Memory, "memory": c.env.memory()}, "%s", f.Name)
	c.line("from", from)
	bytes := size(info.Size)
	if s.have > 0 {
		bytes += ", of which " + size(s.have) + " is here"
	}
	c.line("size", bytes)
	c.line("to", r.Dest)
	if rate > 0 {
		c.line("time", fmt.Sprintf("about %s at %s/s, measured just now", clock(time.Duration(float64(rest)/rate*1e9)), size(int64(rate))))
	}
	if f.Memory > 0 {
		c.line("memory", canRun(f, c.env.memory()))
	}
	if f.Bytes > 0 && f.Bytes != info.Size {
		c.line("note", fmt.Sprintf("our table says %d bytes, the hub has %d: it may be a newer version", f.Bytes, info.Size))
	}
	return info, nil
}

// canRun compares what a file needs with what the machine has. The memory of a
// graphics card is not counted: a card that holds the model needs little of the machine's.
func canRun(f File, have int64) string {
	if f.Kind == "draft" {
		return "adds " + size(f.Memory) + " to a model"
	}
	switch {
	case have == 0:
		return "wants " + size(f.Memory)
	case have < f.Memory:
		return fmt.Sprintf("wants %s, this machine has %s: too little to hold it, unless a graphics card does", size(f.Memory), size(have))
	}
	return fmt.Sprintf("wants %s, this machine has %s: it can run here", size(f.Memory), size(have))
}

func (c *command) line(word, text string) {
	if !c.opt.json {
		_, _ = fmt.Fprintf(c.stderr, "  %-7s %s\n", word, text)
	}
}

// event tells one thing: as JSON on standard output where that is asked for, and
// otherwise as a line of text for people. A nil object is for people alone.
func (c *command) event(object map[string]any, format string, a ...any) {
	if !c.opt.json {
		_, _ = fmt.Fprintf(c.stderr, "ds4: "+format+"\n", a...)
		return
	}
	if object != nil {
		_ = json.NewEncoder(c.stdout).Encode(object) // a closed pipe is the reader's wish
	}
}

// state is what is here of a file.
type state struct {
	word string // "here", "partial" or ""
	have int64  // bytes
	size int64  // bytes of the whole file, if known
}

func (c *command) state(f File) state {
	if f.Path == "" {
		return state{}
	}
	dest := f.dest(c.opt.dir)
	if fi, err := os.Stat(dest); err == nil {
		if f.Bytes == 0 || fi.Size() == f.Bytes {
			return state{"here", fi.Size(), fi.Size()}
		}
		return state{"partial", fi.Size(), f.Bytes}
	}
	p, err := fetch.Inspect(dest)
	if err == nil {
		return state{"partial", p.Have, p.Size}
	}
	if fi, e := os.Stat(dest + ".part"); e == nil && errors.Is(err, fs.ErrNotExist) {
		return state{"partial", fi.Size(), f.Bytes} // of another program
	}
	return state{size: f.Bytes}
}

// list shows the known files, one line a name.
func (c *command) list() error {
	type row struct {
		Name   string `json:"name"`
		Kind   string `json:"kind"`
		Bytes  int64  `json:"bytes,omitempty"`
		Memory int64  `json:"memory,omitempty"`
		State  string `json:"state,omitempty"`
		Have   int64  `json:"have,omitempty"`
		Path   string `json:"path,omitempty"`
		About  string `json:"about"`
	}
	var rows []row
	for _, f := range Known() {
		s := c.state(f)
		if n := len(rows); n > 0 && rows[n-1].Name == f.Name { // several files: their sum
			last := &rows[n-1]
			last.Bytes, last.Have = last.Bytes+f.Bytes, last.Have+s.have
			last.Path = filepath.Join(c.opt.dir, f.Name)
			if last.State != s.word {
				last.State = "partial"
			}
			continue
		}
		path := ""
		if f.Path != "" {
			path = f.dest(c.opt.dir)
		}
		rows = append(rows, row{f.Name, f.Kind, f.Bytes, f.Memory, s.word, s.have, path, f.About})
	}
	if c.opt.json {
		enc := json.NewEncoder(c.stdout)
		for _, r := range rows {
			if err := enc.Encode(r); err != nil {
				return err
			}
		}
		return nil
	}
	w := tabwriter.NewWriter(c.stdout, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(w, "name\tsize\tmemory\there\twhat")
	for _, r := range rows {
		here := r.State
		switch {
		case r.Path == "":
			here = "no file known"
		case here == "":
			here = "-"
		case here == "partial" && r.Bytes > 0:
			here = fmt.Sprintf("%d%%", r.Have*100/r.Bytes)
		}
		_, _ = fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", r.Name, known(r.Bytes), known(r.Memory), here, r.About)
	}
	_, _ = fmt.Fprintf(w, "\nds4 fetch NAME fetches into %s; ds4 fetch OWNER/REPO FILE any other file of the hub.\n", c.opt.dir)
	return w.Flush()
}

func known(n int64) string {
	if n == 0 {
		return "?"
	}
	return size(n)
}
