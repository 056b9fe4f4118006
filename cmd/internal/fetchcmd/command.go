package fetchcmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ds4-go/ds4/cmd/internal/cli"
	"github.com/ds4-go/ds4/modules/fetch"
)

// options are the flags.
type options struct {
	dir, token, revision, limit string
	parts                       int
	noLink, verify, json, list  bool
	wait                        bool
}

// command is one run of it.
type command struct {
	opt    options
	env    environment
	client *fetch.Client
	stdout io.Writer
	stderr *os.File
	limit  int64 // bytes per second; 0 none
}

// Main runs "ds4 fetch" with the arguments behind that word, and returns the exit code.
func Main(ctx context.Context, args []string, stdout, stderr *os.File) int {
	return cli.Exit(stderr, "ds4", run(ctx, args, stdout, stderr, system()))
}

func run(ctx context.Context, args []string, stdout io.Writer, stderr *os.File, env environment) error {
	c := &command{opt: options{dir: "gguf"}, env: env, stdout: stdout, stderr: stderr}
	set := c.flags()
	names, err := set.Parse(args, stdout)
	if err != nil {
		return err
	}
	if c.limit, err = parseRate(c.opt.limit); err != nil {
		return set.Usagef("--limit-rate: %v", err)
	}
	if c.opt.list || len(names) == 0 {
		return c.list()
	}
	files, err := choose(set, names)
	if err != nil {
		return err
	}
	if c.opt.token, err = env.token(c.opt.token); err != nil {
		return err
	}
	c.client = &fetch.Client{Endpoint: strings.TrimSpace(env.get("HF_ENDPOINT")), UserAgent: "ds4"}
	defer c.client.CloseIdleConnections()
	for _, f := range files {
		if err := c.file(ctx, f); err != nil {
			return err
		}
	}
	return nil
}

func (c *command) flags() *cli.Set {
	s := cli.New("ds4 fetch", "download model files, whole and verified",
		"ds4 fetch                      list what there is",
		"ds4 fetch NAME... [flags]      q2-imatrix, q2, q4-imatrix, q4, mtp, vectors",
		"ds4 fetch OWNER/REPO FILE      any file of the hub")
	o := &c.opt
	s.String(&o.dir, "--dir", "DIR", "where the files go")
	s.String(&o.token, "--token", "TOKEN", "of the hub; else HF_TOKEN, else the file that hf auth login leaves")
	s.String(&o.revision, "--revision", "REV", "branch, tag or commit; else main")
	s.Int(&o.parts, "--parts", "N", "connections; else 8", 1, 64)
	s.String(&o.limit, "--limit-rate", "RATE", "bytes per second, such as 500k or 20M")
	s.Bool(&o.noLink, "--no-link", "do not point "+modelLink+" at the model")
	s.Bool(&o.verify, "--verify-only", "hash what is there and compare, fetch nothing")
	s.Bool(&o.wait, "--wait", "wait if another program is fetching the same file")
	s.Bool(&o.list, "--list", "list the known files and what is here of them")
	s.Bool(&o.json, "--json", "one JSON object a line on standard output")
	s.Note("An interrupted download goes on where it stopped: run the same command again.\n" +
		"A partial file of curl -C - (under the file's name, or with .part) is completed.")
	return s
}

// choose turns the arguments into files: known names, or a repository and a file in it.
func choose(set *cli.Set, names []string) ([]File, error) {
	if strings.Contains(names[0], "/") {
		if len(names) != 2 {
			return nil, set.Usagef("want OWNER/REPO FILE, got %d arguments", len(names))
		}
		return []File{{Name: filepath.Base(names[1]), Kind: "data", From: names[0], Path: names[1]}}, nil
	}
	var files []File
	for _, name := range names {
		found, all := lookup(name)
		if len(found) == 0 {
			msg := fmt.Sprintf("%s: want one of %s, or OWNER/REPO FILE", name, strings.Join(all, ", "))
			if near := cli.Nearest(name, all); near != "" {
				msg += fmt.Sprintf("; did you mean %s?", near)
			}
			return nil, set.Usagef("%s", msg)
		}
		if found[0].Path == "" {
			return nil, fmt.Errorf("%s: no file is known under this name yet: give the repository and the file, ds4 fetch %s FILE", name, found[0].From)
		}
		files = append(files, found...)
	}
	return files, nil
}

// parseRate reads bytes per second with an optional k, M or G, which count in 1024s as curl's do.
func parseRate(s string) (int64, error) {
	if s == "" {
		return 0, nil
	}
	num, unit := s, int64(1)
	if i := strings.IndexByte("kmg", s[len(s)-1]|0x20); i >= 0 {
		num, unit = s[:len(s)-1], 1<<(10*(i+1))
	}
	f, err := strconv.ParseFloat(num, 64)
	if err != nil || !(f*float64(unit) >= 1 && f*float64(unit) < 1<<53) {
		return 0, fmt.Errorf("want bytes per second such as 500k or 20M, got %q", s)
	}
	return int64(f * float64(unit)), nil
}

// file fetches or verifies one file, and links it.
func (c *command) file(ctx context.Context, f File) error {
	if c.opt.verify {
		return c.verify(ctx, f)
	}
	r := c.request(f)
	info, err := c.announce(ctx, f, r)
	if err != nil {
		return err
	}
	show := c.newDisplay(f.Name)
	r.Progress = show.progress
	res, err := c.client.Get(ctx, r)
	show.close()
	if err != nil {
		c.hint(ctx, f, err)
		return err
	}
	c.report(f, res, info)
	if f.Kind != "model" || c.opt.noLink {
		return nil
	}
	if !res.Verified {
		c.event(nil, "%s is not made to point at a file that nothing vouches for; give it with -m %s", modelLink, res.Path)
		return nil
	}
	if err := point(modelLink, res.Path); err != nil {
		return err
	}
	c.event(map[string]any{"event": "linked", "link": modelLink, "path": res.Path}, "%s -> %s", modelLink, res.Path)
	return nil
}

func (c *command) request(f File) fetch.Request {
	r := f.request(c.opt.dir)
	r.Parts, r.Limit, r.Wait = c.opt.parts, c.limit, c.opt.wait
	if !f.plain() {
		r.Token, r.Revision = c.opt.token, c.opt.revision
	}
	return r
}

// hint says how to go on after an interruption.
func (c *command) hint(ctx context.Context, f File, err error) {
	var locked *fetch.LockedError
	if errors.As(err, &locked) {
		c.event(nil, "another program is fetching this file; --wait waits for it")
		return
	}
	if p, e := fetch.Inspect(f.dest(c.opt.dir)); e == nil && p.Have > 0 {
		word := "stopped"
		if ctx.Err() != nil {
			word = "interrupted"
		}
		c.event(nil, "%s with %s of %s here; run the same command again to go on", word, size(p.Have), size(p.Size))
	}
}

// report says what has come.
func (c *command) report(f File, res fetch.Result, info fetch.Info) {
	how := "verified against the published hash"
	switch {
	case !res.Verified:
		how = "no hash is published to compare with"
	case f.SHA256 != "":
		how = "verified against the hash in our table"
	}
	came := fmt.Sprintf("%s in %s", size(res.Fetched), clock(res.Elapsed))
	if res.Fetched == 0 {
		came = "was here already"
	}
	c.event(map[string]any{"event": "done", "name": f.Name, "path": res.Path, "bytes": res.Size, "sha256": res.SHA256,
		"verified": res.Verified, "commit": info.Commit, "fetched": res.Fetched, "found": res.Found, "seconds": res.Elapsed.Seconds()},
		"%s: %s, %s; %s; sha256 %s", f.Name, size(res.Size), came, how, res.SHA256)
}

// verify hashes what is there.
func (c *command) verify(ctx context.Context, f File) error {
	r := c.request(f)
	want := f.SHA256
	if _, err := os.Stat(r.Dest); err != nil {
		if p, e := fetch.Inspect(r.Dest); e == nil {
			return fmt.Errorf("%s: want the whole file, got %s of %s: run ds4 fetch %s to complete it", r.Dest, size(p.Have), size(p.Size), f.Name)
		}
		return err
	}
	if want == "" {
		info, err := c.client.Stat(ctx, r)
		if err != nil {
			return err
		}
		if fi, err := os.Stat(r.Dest); err == nil && fi.Size() != info.Size {
			return fmt.Errorf("%s: want %d bytes, got %d", r.Dest, info.Size, fi.Size())
		}
		want = info.SHA256
	}
	show := c.newDisplay(f.Name)
	got, err := fetch.Verify(ctx, r.Dest, want, show.progress)
	show.close()
	if err != nil {
		return err
	}
	verdict := "as published"
	if want == "" {
		verdict = "of the right size; no sha256 is published to compare with"
	}
	c.event(map[string]any{"event": "verified", "name": f.Name, "path": r.Dest, "sha256": got, "compared": want != ""},
		"%s: %s; sha256 %s", r.Dest, verdict, got)
	return nil
}

// size is a number of bytes for people, in the units that disks and lines are sold in.
func size(n int64) string {
	units := []string{"bytes", "kB", "MB", "GB", "TB"}
	v, i := float64(n), 0
	for ; v >= 1000 && i < len(units)-1; i++ {
		v /= 1000
	}
	if i == 0 {
		return fmt.Sprintf("%d bytes", n)
	}
	return fmt.Sprintf("%.*f %s", slices.Max([]int{0, 2 - len(strconv.Itoa(int(v))) + 1}), v, units[i])
}

// clock is a duration for people: "45 s", "12 min", "3 h 20 min".
func clock(d time.Duration) string {
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%.0f s", d.Seconds())
	case d < time.Hour:
		return fmt.Sprintf("%.0f min", d.Minutes())
	}
	d = d.Round(time.Minute)
	return fmt.Sprintf("%d h %d min", int(d.Hours()), int(d.Minutes())%60)
}
