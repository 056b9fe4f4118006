package fetch

import (
	"context"
	"crypto/sha1" //nolint:gosec // git names files by it
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"strings"
	"sync/atomic"
)

// digests hashes a file in order: SHA-256 always, git's SHA-1 where that is what the hub tells.
type digests struct {
	sha  hash.Hash
	git  hash.Hash // nil if not wanted
	done atomic.Int64
}

func newDigests(size int64, git bool) *digests {
	d := &digests{sha: sha256.New()}
	if git {
		d.git = sha1.New() //nolint:gosec // not for security: the transport vouches for such small files
		_, _ = fmt.Fprintf(d.git, "blob %d\x00", size)
	}
	return d
}

func (d *digests) write(b []byte) {
	d.sha.Write(b)
	if d.git != nil {
		d.git.Write(b)
	}
	d.done.Add(int64(len(b)))
}

func (d *digests) sha256() string { return hex.EncodeToString(d.sha.Sum(nil)) }

// check compares with what was wanted: a SHA-256 if there is one, git's name
// otherwise. It reports whether there was anything to compare with.
func (d *digests) check(path, wantSHA, wantGit string) (verified bool, err error) {
	got := d.sha256()
	if wantSHA != "" {
		if !strings.EqualFold(wantSHA, got) {
			return false, &HashError{Path: path, Kind: "sha256", Want: wantSHA, Got: got}
		}
		return true, nil
	}
	if wantGit != "" && d.git != nil {
		if got := hex.EncodeToString(d.git.Sum(nil)); got != wantGit {
			return false, &HashError{Path: path, Kind: "git sha1", Want: wantGit, Got: got}
		}
		return true, nil
	}
	return false, nil
}

// follow hashes f behind the transfer: as far as the file is complete, then on
// as it grows, to its end. The bytes are read back while they are still in the
// page cache, which costs a tenth of hashing them.
func (d *digests) follow(ctx context.Context, f io.ReaderAt, p *plan) error {
	buf := make([]byte, bufferBytes)
	for at := int64(0); at < p.size; {
		n := min(int64(len(buf)), p.frontier()-at)
		// small bites only at the end: a bite costs a system call
		if n < int64(len(buf)) && at+n < p.size {
			select {
			case <-p.moved:
				continue
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		if _, err := f.ReadAt(buf[:n], at); err != nil {
			return onDisk(fmt.Errorf("reading back at %d: %w", at, noEOF(err)))
		}
		d.write(buf[:n])
		at += n
	}
	return nil
}

// noEOF makes an end of file in the middle an error that says so.
func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// Verify hashes the file at path and compares its SHA-256 with want, hex; an
// empty want compares nothing. It returns the SHA-256 found. progress may be nil.
func Verify(ctx context.Context, path, want string, progress func(Progress)) (string, error) {
	sum, err := verify(ctx, path, want, progress)
	return sum, public(ctx, err)
}

func verify(ctx context.Context, path, want string, progress func(Progress)) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }()
	fi, err := f.Stat()
	if err != nil {
		return "", err
	}
	if !fi.Mode().IsRegular() {
		return "", fmt.Errorf("%s: want a file, got %v", path, fi.Mode().Type())
	}
	rep := newReporter(progress)
	defer rep.close()
	d, err := hashFile(ctx, f, fi.Size(), false, rep)
	if err != nil {
		return "", fmt.Errorf("%s: %w", path, err)
	}
	_, err = d.check(path, want, "")
	return d.sha256(), err
}

// hashFile hashes the first size bytes of f, all of which are there.
func hashFile(ctx context.Context, f io.ReaderAt, size int64, git bool, rep *reporter) (*digests, error) {
	d := newDigests(size, git)
	rep.phase(Verifying, size, d.done.Load, nil)
	return d, d.follow(ctx, f, newPlan(nil, size, 1))
}
