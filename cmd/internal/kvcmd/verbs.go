package kvcmd

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"text/tabwriter"
	"time"

	"github.com/ds4-go/ds4/cmd/internal/cli"
	"github.com/ds4-go/ds4/modules/serve/kvstore"
)

const shortName = 12 // hex digits that a list shows

func (c *command) printf(format string, a ...any) error {
	_, err := fmt.Fprintf(c.stdout, format, a...)
	return err
}

func (c *command) printJSON(v any) error {
	e := json.NewEncoder(c.stdout)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// short cuts a name so that it still tells the kind.
func short(name string) string {
	if len(name) <= shortName {
		return name
	}
	return name[:shortName] + "…" + filepath.Ext(name)
}

func megabytes(n int64) string { return fmt.Sprintf("%.1f", float64(n)/1e6) }

// jsonInfo is a file for scripts.
type jsonInfo struct {
	Name     string    `json:"name"`
	Kind     string    `json:"kind"`
	Reason   string    `json:"reason"`
	Tokens   int       `json:"tokens"`
	Bytes    int64     `json:"bytes"`
	Blocks   int       `json:"blocks"`
	Complete bool      `json:"complete"`
	Created  time.Time `json:"created"`
	Used     time.Time `json:"used"`
	Hits     uint32    `json:"hits"`
	Bits     uint8     `json:"expert_bits"`
	Model    string    `json:"model"`
	Weights  string    `json:"weights"`
}

func toJSON(i kvstore.Info) jsonInfo {
	return jsonInfo{i.Name, i.Kind, i.Reason.String(), i.Tokens, i.Bytes, i.Blocks, i.Complete, i.Created.UTC(), i.Used.UTC(), i.Hits, i.Bits,
		i.Model.String(), i.Weights.String()}
}

func (c *command) list() error {
	list := c.store.List()
	var total, blocks int64
	shown, nBlocks := []kvstore.Info{}, 0
	for _, i := range list {
		total += i.Bytes
		if i.Kind == "block" {
			blocks += i.Bytes
			nBlocks++
			if !c.blocks {
				continue
			}
		}
		shown = append(shown, i)
	}
	if c.json {
		out := []jsonInfo{}
		for _, i := range shown {
			out = append(out, toJSON(i))
		}
		return c.printJSON(out)
	}
	w := tabwriter.NewWriter(c.stdout, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(w, "NAME\tKIND\tTOKENS\tMB\tREASON\tHITS\tUSED\tMODEL\tNOTE")
	for _, i := range shown {
		note := ""
		if !i.Complete {
			note = "blocks are missing"
		}
		_, _ = fmt.Fprintf(w, "%s\t%s\t%d\t%s\t%s\t%d\t%s\t%.8s\t%s\n", short(i.Name), i.Kind, i.Tokens, megabytes(i.Bytes), i.Reason, i.Hits,
			i.Used.Format("2006-01-02 15:04"), i.Model, note)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	return c.printf("%d files, %s MB, of which %d shared blocks, %s MB\n", len(list), megabytes(total), nBlocks, megabytes(blocks))
}

func (c *command) show() error {
	d, err := c.store.Show(c.args[0])
	if err != nil {
		return err
	}
	if c.json {
		return c.printJSON(struct {
			jsonInfo
			Start    int      `json:"start"`
			Key      string   `json:"key"`
			Parent   string   `json:"parent"`
			Previous string   `json:"previous"`
			Rows     int64    `json:"row_bytes"`
			State    int64    `json:"state_bytes"`
			Logits   int      `json:"logits"`
			Tokens   []int32  `json:"own_tokens"`
			Text     string   `json:"text"`
			Tools    []string `json:"tools"`
		}{toJSON(d.Info), d.Start, d.Key.String(), d.Parent.String(), d.Previous.String(), d.RowBytes, d.StateBytes, d.Logits, d.Tokens,
			string(d.Text), toolIDs(d.Tools)})
	}
	w := tabwriter.NewWriter(c.stdout, 0, 0, 2, ' ', 0)
	row := func(name, format string, a ...any) { _, _ = fmt.Fprintf(w, name+"\t"+format+"\n", a...) }
	row("name", "%s", d.Name)
	row("kind", "%s, %s", d.Kind, d.Reason)
	row("tokens", "%d, the file's own from %d", d.Info.Tokens, d.Start)
	row("bytes", "%d: rows %d, ring image %d, logits %d", d.Bytes, d.RowBytes, d.StateBytes, 4*d.Logits)
	row("used", "%d times, last %s; created %s", d.Hits, d.Used.Format(time.RFC3339), d.Created.Format(time.RFC3339))
	row("model", "%s, weights %s, experts of %d bits", d.Model, d.Weights, d.Bits)
	if d.Kind == "checkpoint" {
		row("blocks", "%d, complete: %t", d.Blocks, d.Complete)
		row("key", "%s, from %s", d.Key, d.Parent)
	}
	row("aliases", "%d", d.Aliases)
	row("tools", "%q", toolIDs(d.Tools))
	row("text", "%q", d.Text)
	return w.Flush()
}

func toolIDs(tools []kvstore.Tool) []string {
	ids := []string{}
	for _, t := range tools {
		ids = append(ids, t.ID)
	}
	return ids
}

func (c *command) verify() error {
	files, bad := 0, 0
	var bytes int64
	err := c.store.Verify(c.ctx, c.quarantine, func(i kvstore.Info, err error) {
		files++
		bytes += i.Bytes
		switch {
		case err != nil:
			bad++
			_ = c.printf("%s: %v\n", i.Name, err)
		case !i.Complete:
			_ = c.printf("%s: sound, but blocks that it needs are missing\n", i.Name)
		}
	})
	if err != nil {
		return err
	}
	if err := c.printf("%d files, %s MB: %d damaged\n", files, megabytes(bytes), bad); err != nil {
		return err
	}
	if bad > 0 {
		return cli.Silent(1)
	}
	return nil
}

func (c *command) remove() error {
	switch {
	case c.wipe && len(c.args) > 0:
		return c.set.Usagef("rm: want names or --all, got both")
	case c.wipe:
		return c.store.Wipe()
	case len(c.args) == 0:
		return c.set.Usagef("rm: want names, or --all")
	}
	for _, name := range c.args {
		i, err := c.store.Find(name)
		if err != nil {
			return err
		}
		bytes, err := c.store.Remove(i.Name)
		if err != nil {
			return err
		}
		if err := c.printf("%s: %s MB\n", i.Name, megabytes(bytes)); err != nil {
			return err
		}
	}
	return nil
}

func (c *command) export() error {
	names, out := c.args[:len(c.args)-1], c.args[len(c.args)-1]
	to, err := kvstore.OpenDir(out)
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := c.ctx.Err(); err != nil {
			return err
		}
		file, err := c.store.Export(name, c.spelling(), to)
		if err != nil {
			return err
		}
		if err := c.printf("%s\n", filepath.Join(out, file)); err != nil {
			return err
		}
	}
	return nil
}

// fileBlob is an open file.
type fileBlob struct {
	*os.File
	bytes int64
}

func (f fileBlob) Size() int64 { return f.bytes }

func (c *command) importFiles() error {
	for _, path := range c.args {
		if err := c.ctx.Err(); err != nil {
			return err
		}
		e, err := c.importFile(path)
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		if err := c.printf("%s: %d tokens, %s MB written in %.1f s\n", e.Name, e.Tokens, megabytes(e.Bytes), e.Took.Seconds()); err != nil {
			return err
		}
	}
	return nil
}

func (c *command) importFile(path string) (e kvstore.Event, err error) {
	f, err := os.Open(path)
	if err != nil {
		return e, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	info, err := f.Stat()
	if err != nil {
		return e, err
	}
	return c.store.Import(fileBlob{f, info.Size()})
}
