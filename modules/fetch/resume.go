package fetch

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync/atomic"
)

const (
	sampleBytes = 1 << 20 // compared at both ends of what another program left

	// What must stay free once the file is there: a hundredth of it, within bounds.
	minMargin = 64 << 20
	maxMargin = 1 << 30
)

// open opens the part file and says which of its bytes are good.
func (g *getter) open(ctx context.Context) (*os.File, []extent, error) {
	have, err := g.left(ctx)
	if err != nil {
		return nil, nil, err
	}
	flags := os.O_RDWR | os.O_CREATE
	if len(have) == 0 {
		flags |= os.O_TRUNC
	}
	f, err := os.OpenFile(g.part, flags, 0o644)
	if err != nil {
		return nil, nil, onDisk(err)
	}
	if len(have) > 0 {
		// what the new journal calls kept must be on the disk
		if err := syncData(f); err != nil {
			_ = f.Close()
			return nil, nil, onDisk(err)
		}
	}
	return f, have, nil
}

// left reads what an earlier run left: journal and part file, or a part file alone.
func (g *getter) left(ctx context.Context) ([]extent, error) {
	g.adopted = false
	fi, err := os.Stat(g.part)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, onDisk(err)
	}
	if !fi.Mode().IsRegular() {
		return nil, fmt.Errorf("%s: want a file, got %v", g.part, fi.Mode().Type())
	}
	jf, err := os.Open(g.journal)
	if errors.Is(err, fs.ErrNotExist) {
		return g.adopt(ctx, fi.Size())
	}
	if err != nil {
		return nil, onDisk(err)
	}
	st, err := readJournal(jf)
	_ = jf.Close()
	if errors.Is(err, ErrCorrupt) {
		g.rep.note(g.journal + ": " + err.Error() + ": fetching everything anew")
		return nil, nil
	}
	if err != nil {
		return nil, onDisk(err)
	}
	if !st.id.same(g.identity()) {
		g.rep.note(fmt.Sprintf("%s: the part file is of another version (%d bytes, ETag %q; now %d bytes, ETag %q): fetching everything anew",
			g.part, st.id.Size, st.id.ETag, g.src.info.Size, g.src.info.ETag))
		return nil, nil
	}
	g.adopted = st.id.Adopted
	return g.compare(ctx, st, fi.Size())
}

// compare reads back what may not have reached the disk before the last run ended.
func (g *getter) compare(ctx context.Context, st *journalState, size int64) ([]extent, error) {
	good := clip(st.kept, size)
	if len(st.pending) == 0 {
		return good, nil
	}
	f, err := os.Open(g.part)
	if err != nil {
		return nil, onDisk(err)
	}
	defer func() { _ = f.Close() }()
	var done atomic.Int64
	all := int64(0)
	for _, r := range st.pending {
		all += r.len()
	}
	g.rep.phase(Checking, all, done.Load, nil)
	buf := make([]byte, bufferBytes)
	for _, r := range st.pending {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		crc, err := checksum(f, r.extent, buf)
		switch {
		case err == nil && crc == r.crc:
			good = append(good, r.extent)
		case err != nil && !errors.Is(err, io.EOF):
			return nil, onDisk(err)
		}
		done.Add(r.len())
	}
	return merge(good), nil
}

// checksum is the CRC-32C of a range of f, however long a record says it is.
func checksum(f io.ReaderAt, x extent, buf []byte) (uint32, error) {
	crc := uint32(0)
	for off := x.off; off < x.end; {
		n := min(int64(len(buf)), x.end-off)
		if _, err := f.ReadAt(buf[:n], off); err != nil {
			return 0, err
		}
		crc = crc32.Update(crc, castagnoli, buf[:n])
		off += n
	}
	return crc, nil
}

// adopt takes over a part file without a journal: one that curl -C - or another
// program has written from its start. Both its ends are compared with the remote file.
func (g *getter) adopt(ctx context.Context, n int64) ([]extent, error) {
	if n == 0 {
		return nil, nil
	}
	if n > g.src.info.Size {
		g.rep.note(fmt.Sprintf("%s: want at most %d bytes, got %d: fetching everything anew", g.part, g.src.info.Size, n))
		return nil, nil
	}
	same, err := g.sameEnds(ctx, g.part, n)
	if err != nil {
		return nil, err
	}
	if !same {
		g.rep.note(g.part + ": is not the beginning of this file: fetching everything anew")
		return nil, nil
	}
	g.adopted = true
	g.rep.note(fmt.Sprintf("%s: going on from the %d bytes that another program left", g.part, n))
	return []extent{{0, n}}, nil
}

// takeOver makes a part file of a Dest that is too short, if it is the beginning of the file.
func (g *getter) takeOver(ctx context.Context, n int64) error {
	if _, err := os.Stat(g.part); err == nil {
		return fmt.Errorf("%s: want %d bytes, got a file of %d beside a part file: move one of them away: %w",
			g.dest, g.src.info.Size, n, ErrExists)
	}
	same, err := g.sameEnds(ctx, g.dest, n)
	if err != nil {
		return err
	}
	if !same {
		return fmt.Errorf("%s: want %d bytes, got %d of something else: move it away: %w", g.dest, g.src.info.Size, n, ErrExists)
	}
	_ = os.Remove(g.journal)
	return onDisk(os.Rename(g.dest, g.part))
}

// sameEnds compares the first and the last mebibyte of a local beginning of n bytes with the remote file.
func (g *getter) sameEnds(ctx context.Context, path string, n int64) (bool, error) {
	f, err := os.Open(path)
	if err != nil {
		return false, onDisk(err)
	}
	defer func() { _ = f.Close() }()
	for _, x := range []extent{{0, min(n, sampleBytes)}, {max(0, n-sampleBytes), n}} {
		local := make([]byte, x.len())
		if _, err := f.ReadAt(local, x.off); err != nil {
			return false, onDisk(noEOF(err))
		}
		remote, err := g.sample(ctx, x)
		if err != nil {
			return false, err
		}
		if remote != nil && !bytes.Equal(local, remote) {
			return false, nil
		}
	}
	return true, nil
}

// sample fetches a small range; nil if the server ignores ranges and it is not at the start.
func (g *getter) sample(ctx context.Context, x extent) ([]byte, error) {
	wait := patience{client: g.client, note: g.rep.note}
	data := make([]byte, x.len())
	for {
		var gen int
		skip := false
		err := g.client.timed(ctx, func(ctx context.Context) error {
			b, whole, used, err := g.src.open(ctx, x)
			gen = used
			if err != nil {
				return err
			}
			defer func() { _ = b.Close() }()
			if skip = whole && x.off > 0; skip {
				return nil
			}
			n, err := io.ReadFull(b, data)
			g.fetched.Add(int64(n))
			return err
		})
		if err == nil {
			if skip {
				return nil, nil
			}
			return data, nil
		}
		if err := wait.failed(ctx, err, "comparing"); err != nil {
			return nil, err
		}
		if remedyFor(err) == freshLink {
			if err := g.src.refresh(ctx, gen); err != nil {
				return nil, err
			}
		}
	}
}

// reserve checks the free space and takes it, so that the disk is full now or not at all.
func (g *getter) reserve(f *os.File, have []extent) error {
	size := g.src.info.Size
	fi, err := f.Stat()
	if err != nil {
		return onDisk(err)
	}
	if !g.req.Sparse {
		need := size - min(max(allocated(fi), total(have)), size)
		dir := filepath.Dir(g.dest)
		if free, ok := freeSpace(dir); ok && need > 0 {
			if need += min(max(size/100, minMargin), maxMargin); free < need {
				return onDisk(&SpaceError{Dir: dir, Need: need, Free: free})
			}
		}
		if err := preallocate(f, size); err != nil {
			_ = f.Truncate(fi.Size()) // gives back what it got
			return onDisk(fmt.Errorf("%s: reserving %d bytes: %w", g.part, size, err))
		}
	}
	return onDisk(f.Truncate(size))
}

// Partial is what an interrupted download has left.
type Partial struct {
	Source string // address of the file, or of the repository's file
	Size   int64  // bytes of the whole file
	Have   int64  // bytes that the journal promises
	Check  int64  // of these, bytes that will be compared first
	ETag   string
	SHA256 string
	Commit string
	Torn   bool // the journal's last record is damaged, as a kill may leave it
}

// Inspect reads the journal of an interrupted download to dest. Without one the
// error is fs.ErrNotExist; a damaged one is ErrCorrupt.
func Inspect(dest string) (Partial, error) {
	f, err := os.Open(dest + ".part.journal")
	if err != nil {
		return Partial{}, fmt.Errorf("fetch: %w", err)
	}
	defer func() { _ = f.Close() }()
	st, err := readJournal(f)
	if err != nil {
		return Partial{}, fmt.Errorf("fetch: %w", err)
	}
	p := Partial{Source: st.id.Source, Size: st.id.Size, ETag: st.id.ETag, SHA256: st.id.SHA256, Commit: st.id.Commit, Torn: st.torn}
	all := append([]extent(nil), st.kept...)
	for _, r := range st.pending {
		p.Check += r.len()
		all = append(all, r.extent)
	}
	p.Have = total(merge(all))
	return p, nil
}
