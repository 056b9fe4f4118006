package fetch

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"
)

// restarts bounds how often a file that changes on the hub is begun anew.
const restarts = 3

// getter is one call of Get.
type getter struct {
	client *Client
	req    *Request
	src    *source
	rep    *reporter

	dest, part, journal string // paths

	whole   bool  // the server ignores ranges
	adopted bool  // the beginning came from another program
	found   int64 // bytes that were there; -1 not known yet
	fetched atomic.Int64
}

func (c *Client) get(ctx context.Context, r Request) (Result, error) {
	start := time.Now()
	if err := r.check(); err != nil {
		return Result{}, err
	}
	src, err := c.newSource(&r)
	if err != nil {
		return Result{}, err
	}
	g := &getter{client: c, req: &r, src: src, found: -1}
	if g.dest, err = destination(r.Dest); err != nil {
		return Result{}, err
	}
	g.part, g.journal = g.dest+".part", g.dest+".part.journal"
	g.rep = newReporter(r.Progress)
	defer g.rep.close()

	held, err := acquire(ctx, g.dest+".part.lock", r.Wait, func(e *LockedError) {
		g.rep.phase(Waiting, 0, nil, nil)
		g.rep.note(e.Error() + ": waiting")
	})
	if err != nil {
		return Result{}, err
	}
	defer held.release()
	res, err := g.run(ctx)
	res.Elapsed = time.Since(start)
	return res, err
}

// destination follows a link, makes the folder, and refuses a folder as file.
func destination(path string) (string, error) {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real // the bytes go where the link points
	}
	switch fi, err := os.Lstat(path); {
	case err == nil && fi.IsDir():
		return "", fmt.Errorf("%s: want a file, got a folder", path)
	case err == nil && !fi.Mode().IsRegular():
		return "", fmt.Errorf("%s: want a file, got %v", path, fi.Mode().Type())
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return "", err
	}
	return path, os.MkdirAll(filepath.Dir(path), 0o755)
}

// run asks for the file and fetches it, anew when it changes meanwhile.
func (g *getter) run(ctx context.Context) (Result, error) {
	var res Result
	for try := 0; ; try++ {
		g.rep.phase(Resolving, 0, nil, nil)
		if err := g.client.stat(ctx, g.src, g.rep.note); err != nil {
			return res, err
		}
		if err := g.wanted(); err != nil {
			return res, err
		}
		err := g.once(ctx, &res)
		switch {
		case errors.Is(err, ErrChanged) && try < restarts:
			g.src.pinned, g.found = "", -1
			g.rep.note(err.Error() + ": fetching it anew")
			continue
		case errors.Is(err, errWhole) && !g.whole:
			g.rep.note(g.src.name + ": the server ignores ranges: going on over one connection")
			g.whole = true
			continue
		}
		res.Fetched = g.fetched.Load()
		return res, err
	}
}

// wanted compares what the hub has with what the caller insists on.
func (g *getter) wanted() error {
	i := &g.src.info
	if g.req.Size != 0 && i.Size != g.req.Size {
		return fmt.Errorf("%s: want %d bytes, got %d: %w", g.src.name, g.req.Size, i.Size, ErrChanged)
	}
	if g.req.SHA256 != "" && i.SHA256 != "" && g.req.SHA256 != i.SHA256 {
		return fmt.Errorf("%s: want sha256 %s, got %s: %w", g.src.name, g.req.SHA256, i.SHA256, ErrChanged)
	}
	return nil
}

// want returns the hashes to compare with, the caller's before the hub's.
func (g *getter) want() (sha, git string) {
	if g.req.SHA256 != "" {
		return g.req.SHA256, ""
	}
	return g.src.info.SHA256, g.src.info.gitSHA
}

func (g *getter) identity() identity {
	i := &g.src.info
	return identity{Source: g.src.name, Size: i.Size, ETag: i.ETag, SHA256: i.SHA256, Commit: i.Commit, Adopted: g.adopted}
}

// once makes the file that g.src.info describes.
func (g *getter) once(ctx context.Context, res *Result) error {
	i := &g.src.info
	*res = Result{Path: g.dest, Size: i.Size, ETag: i.ETag, Commit: i.Commit}
	if done, err := g.present(ctx, res); done || err != nil {
		return err
	}
	if i.Size == 0 {
		return g.empty(res)
	}
	file, have, err := g.open(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	j, err := createJournal(g.journal, g.identity(), have)
	if err != nil {
		return err
	}
	defer func() { _ = j.Close() }()
	if err := g.reserve(file, have); err != nil {
		return err
	}
	if g.found < 0 {
		g.found = total(have)
	}
	res.Found = g.found
	d, err := g.fill(ctx, file, j, have)
	if err != nil {
		return err
	}
	return g.finish(file, j, d, res)
}

// fill fetches what is missing, with SHA-256 following.
func (g *getter) fill(ctx context.Context, file *os.File, j *journal, have []extent) (*digests, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	size, conns := g.src.info.Size, g.req.Parts
	if conns == 0 {
		conns = defaultParts
	}
	missing, step := gaps(have, size), partBytes(size, conns, g.req.PartSize)
	if g.whole && len(missing) > 0 {
		missing, conns, step = []extent{{missing[0].off, size}}, 1, size
	}
	p := newPlan(missing, size, step)
	_, git := g.want()
	d := newDigests(size, git != "")
	hashed := make(chan error, 1)
	go func() {
		err := d.follow(ctx, file, p)
		if err != nil {
			cancel(err)
		}
		hashed <- err
	}()
	g.rep.phase(Fetching, size, func() int64 { n, _, _ := p.count(); return n },
		func() (int, int) { _, done, all := p.count(); return done, all })
	t := &transfer{client: g.client, req: g.req, src: g.src, file: file, journal: j, plan: p, conns: conns,
		limit: newLimiter(g.req.Limit), note: g.rep.note, fetched: &g.fetched, fresh: len(have) == 0, whole: g.whole}
	err := t.run(ctx)
	if err != nil {
		cancel(err) // the hashing ends for the same reason
	} else {
		g.rep.phase(Verifying, size, d.done.Load, nil)
		p.wake()
	}
	if e := <-hashed; err == nil {
		err = e
	}
	return d, err
}

// finish compares the hash, and only then gives the file its name.
func (g *getter) finish(file *os.File, j *journal, d *digests, res *Result) error {
	sha, git := g.want()
	verified, err := d.check(g.part, sha, git)
	if err != nil {
		_, _ = file.Close(), j.Close()
		return g.aside(err)
	}
	res.SHA256, res.Verified = d.sha256(), verified
	if err := file.Sync(); err != nil {
		return onDisk(err)
	}
	if err := renameOpen(file, g.part, g.dest); err != nil {
		return onDisk(err)
	}
	_, _ = j.Close(), os.Remove(g.journal)
	return nil
}

// aside moves a part file with the wrong hash out of the way, for people to look at.
func (g *getter) aside(err error) error {
	bad := g.part + ".bad"
	if e := os.Rename(g.part, bad); e != nil {
		return errors.Join(err, onDisk(e))
	}
	_ = os.Remove(g.journal)
	var h *HashError
	if errors.As(err, &h) {
		h.Path, h.Aside, h.Adopted = bad, true, g.adopted
	}
	return err
}

// empty makes a file without bytes, which no range can be asked of.
func (g *getter) empty(res *Result) error {
	_, git := g.want()
	d := newDigests(0, git != "")
	sha, _ := g.want()
	verified, err := d.check(g.dest, sha, git)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(g.part, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return onDisk(err)
	}
	if err := renameOpen(f, g.part, g.dest); err != nil {
		return onDisk(err)
	}
	res.SHA256, res.Verified = d.sha256(), verified
	return nil
}

// present looks at what Dest already holds: the file, which is then verified, or
// the beginning of it, left by a program that writes under the final name.
func (g *getter) present(ctx context.Context, res *Result) (done bool, err error) {
	fi, err := os.Stat(g.dest)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, onDisk(err)
	}
	size := g.src.info.Size
	if fi.Size() < size {
		return false, g.takeOver(ctx, fi.Size())
	}
	if fi.Size() > size {
		return false, fmt.Errorf("%s: want %d bytes, got a file of %d: move it away: %w", g.dest, size, fi.Size(), ErrExists)
	}
	f, err := os.Open(g.dest)
	if err != nil {
		return false, onDisk(err)
	}
	defer func() { _ = f.Close() }()
	sha, git := g.want()
	d, err := hashFile(ctx, f, size, git != "", g.rep)
	if err != nil {
		return false, err
	}
	if res.Verified, err = d.check(g.dest, sha, git); err != nil {
		return false, err
	}
	res.SHA256, res.Found = d.sha256(), size
	_ = os.Remove(g.journal) // left behind if we were killed after the rename
	return true, nil
}
