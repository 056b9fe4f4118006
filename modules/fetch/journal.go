package fetch

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"sync"
)

const (
	journalMagic    = "DS4FETCH"
	journalVersion  = 1
	journalIdentity = 64 << 10 // bytes of identity that are accepted
	recordBytes     = 32

	recordWritten = 1
	recordSynced  = 2
	recordKept    = 3
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// identity says which file a journal belongs to. It never holds the token or a signed address.
type identity struct {
	Source  string `json:"source"` // as the caller named it
	Size    int64  `json:"size"`   // bytes
	ETag    string `json:"etag,omitempty"`
	SHA256  string `json:"sha256,omitempty"`
	Commit  string `json:"commit,omitempty"`
	Adopted bool   `json:"adopted,omitempty"` // the beginning was left by another program
}

// same reports whether bytes fetched for b are good for a.
func (a identity) same(b identity) bool {
	if a.Size != b.Size {
		return false
	}
	if a.SHA256 != "" && b.SHA256 != "" {
		return a.SHA256 == b.SHA256
	}
	return a.Source == b.Source && a.ETag == b.ETag
}

// A record says that a buffer was written.
type record struct {
	extent
	crc uint32
}

// journalState is what a journal tells about the part file.
type journalState struct {
	id      identity
	kept    []extent // on the disk for certain, merged
	pending []record // written, perhaps lost with the power: compare before use
	torn    bool     // the last record was cut short or damaged
}

// readJournal reads a journal. A damaged header is ErrCorrupt; damaged records
// end the reading, for what follows a torn record was never promised.
func readJournal(r io.Reader) (*journalState, error) {
	br := bufio.NewReaderSize(r, 64<<10)
	id, err := readIdentity(br)
	if err != nil {
		return nil, err
	}
	st := &journalState{id: id}
	var kept []extent
	var rec [recordBytes]byte
	count, safe := uint64(0), uint64(0) // records read; how many of them a sync covers
	var index []uint64                  // of each pending record
	for {
		if _, err := io.ReadFull(br, rec[:]); err != nil {
			if errors.Is(err, io.EOF) {
				break
			}
			if errors.Is(err, io.ErrUnexpectedEOF) {
				st.torn = true
				break
			}
			return nil, fmt.Errorf("journal: %w", err)
		}
		if crc32.Checksum(rec[:28], castagnoli) != binary.LittleEndian.Uint32(rec[28:]) {
			st.torn = true
			break
		}
		kind, crc := binary.LittleEndian.Uint32(rec[0:]), binary.LittleEndian.Uint32(rec[4:])
		off, n := binary.LittleEndian.Uint64(rec[8:]), binary.LittleEndian.Uint64(rec[16:])
		if kind == recordSynced {
			if off > count {
				return nil, fmt.Errorf("journal: record %d: want at most %d records synced, got %d: %w", count, count, off, ErrCorrupt)
			}
			safe = max(safe, off)
			count++
			continue
		}
		size := uint64(id.Size)
		if (kind != recordWritten && kind != recordKept) || n == 0 || n > size || off > size-n {
			return nil, fmt.Errorf("journal: record %d: want a range within %d bytes, got kind %d, %d bytes at %d: %w",
				count, size, kind, n, off, ErrCorrupt)
		}
		x := extent{int64(off), int64(off + n)}
		if kind == recordKept {
			kept = append(kept, x)
		} else {
			st.pending = append(st.pending, record{x, crc})
			index = append(index, count)
		}
		count++
	}
	rest := 0
	for rest < len(index) && index[rest] < safe {
		kept = append(kept, st.pending[rest].extent)
		rest++
	}
	st.pending = st.pending[rest:]
	st.kept = merge(kept)
	return st, nil
}

func readIdentity(r io.Reader) (identity, error) {
	var id identity
	head := make([]byte, 16)
	if _, err := io.ReadFull(r, head); err != nil {
		return id, fmt.Errorf("journal: want a header of 16 bytes: %w", ErrCorrupt)
	}
	if string(head[:8]) != journalMagic {
		return id, fmt.Errorf("journal: want %q, got %q: %w", journalMagic, head[:8], ErrCorrupt)
	}
	if v := binary.LittleEndian.Uint32(head[8:]); v != journalVersion {
		return id, fmt.Errorf("journal: want version %d, got %d: %w", journalVersion, v, ErrCorrupt)
	}
	n := binary.LittleEndian.Uint32(head[12:])
	if n > journalIdentity {
		return id, fmt.Errorf("journal: want at most %d bytes of identity, got %d: %w", journalIdentity, n, ErrCorrupt)
	}
	body := make([]byte, int(n)+4)
	if _, err := io.ReadFull(r, body); err != nil {
		return id, fmt.Errorf("journal: want %d bytes of identity: %w", n, ErrCorrupt)
	}
	want := binary.LittleEndian.Uint32(body[n:])
	if got := crc32.Update(crc32.Checksum(head, castagnoli), castagnoli, body[:n]); got != want {
		return id, fmt.Errorf("journal: header: want crc %08x, got %08x: %w", want, got, ErrCorrupt)
	}
	if err := json.Unmarshal(body[:n], &id); err != nil {
		return id, fmt.Errorf("journal: identity: %w: %w", err, ErrCorrupt)
	}
	if id.Size <= 0 {
		return id, fmt.Errorf("journal: want a size over zero, got %d: %w", id.Size, ErrCorrupt)
	}
	return id, nil
}

// journal appends to the journal of a download under way.
type journal struct {
	mu      sync.Mutex
	file    *os.File
	at      int64  // where the next record goes
	records uint64 // in the file
	synced  uint64 // of these, covered by the last sync
}

// createJournal writes a new journal over path, whole or not at all, and opens it for appending.
func createJournal(path string, id identity, kept []extent) (*journal, error) {
	head, err := encodeIdentity(id)
	if err != nil {
		return nil, err
	}
	buf := bytes.NewBuffer(head)
	for _, x := range kept {
		buf.Write(encodeRecord(recordKept, 0, uint64(x.off), uint64(x.len())))
	}
	tmp := path + ".new"
	f, err := os.OpenFile(tmp, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return nil, onDisk(err)
	}
	_, err = f.Write(buf.Bytes())
	if err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = renameOpen(f, tmp, path)
	}
	if err != nil {
		_ = f.Close()
		_ = os.Remove(tmp)
		return nil, onDisk(err)
	}
	if f, err = os.OpenFile(path, os.O_RDWR, 0); err != nil {
		return nil, onDisk(err)
	}
	return &journal{file: f, at: int64(buf.Len()), records: uint64(len(kept))}, nil
}

// renameOpen closes f and moves it; Windows renames no open file.
func renameOpen(f *os.File, from, to string) error {
	if err := f.Close(); err != nil {
		return err
	}
	if err := os.Rename(from, to); err != nil {
		return err
	}
	return syncDir(to)
}

func encodeIdentity(id identity) ([]byte, error) {
	body, err := json.Marshal(id)
	if err != nil {
		return nil, fmt.Errorf("journal: %w", err)
	}
	if len(body) > journalIdentity {
		return nil, fmt.Errorf("journal: want at most %d bytes of identity, got %d", journalIdentity, len(body))
	}
	b := append(make([]byte, 0, 20+len(body)), journalMagic...)
	b = binary.LittleEndian.AppendUint32(b, journalVersion)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(body)))
	b = append(b, body...)
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli)), nil
}

func encodeRecord(kind, crc uint32, off, n uint64) []byte {
	b := make([]byte, recordBytes)
	binary.LittleEndian.PutUint32(b[0:], kind)
	binary.LittleEndian.PutUint32(b[4:], crc)
	binary.LittleEndian.PutUint64(b[8:], off)
	binary.LittleEndian.PutUint64(b[16:], n)
	binary.LittleEndian.PutUint32(b[28:], crc32.Checksum(b[:28], castagnoli))
	return b
}

// wrote records that data is in the part file at off.
func (j *journal) wrote(off int64, data []byte) error {
	crc := crc32.Checksum(data, castagnoli)
	return j.append(encodeRecord(recordWritten, crc, uint64(off), uint64(len(data))))
}

// append writes one record. A record that could not be written whole is
// overwritten by the next, so the file never has a hole.
func (j *journal) append(rec []byte) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if _, err := j.file.WriteAt(rec, j.at); err != nil {
		return onDisk(fmt.Errorf("journal: %w", err))
	}
	j.at += recordBytes
	j.records++
	return nil
}

// sync makes everything recorded so far safe from power loss: data first, then the record that says so.
func (j *journal) sync(data *os.File) error {
	j.mu.Lock()
	n, fresh := j.records, j.records > j.synced
	j.mu.Unlock()
	if !fresh {
		return nil
	}
	if err := syncData(data); err != nil {
		return onDisk(err)
	}
	if err := j.append(encodeRecord(recordSynced, 0, n, 0)); err != nil {
		return err
	}
	j.mu.Lock()
	j.synced = n + 1
	j.mu.Unlock()
	return onDisk(syncData(j.file))
}

func (j *journal) Close() error { return j.file.Close() }
