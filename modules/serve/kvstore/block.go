package kvstore

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"math"

	"github.com/ds4-go/ds4/modules/model"
)

// kind is what a file is.
type kind uint8

const (
	kindBlock kind = 1 + iota // rows of 2048 tokens
	kindEnd                   // checkpoint
	kindKVC                   // ds4's container
	kindBad                   // quarantined
)

var kindNames = [...]string{"", "block", "checkpoint", "kvc", "bad"}

func (k kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return fmt.Sprintf("kind(%d)", uint8(k))
}

const (
	blockMagic   = "DS4K"
	blockVersion = 1
	headerBytes  = 256
	maxAliases   = 256
	maxText      = 1 << 28
	maxTools     = 1 << 28
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// header is the fixed part of a block or checkpoint; see doc.go.
type header struct {
	kind                    kind
	reason                  Reason
	bits                    uint8
	created                 int64 // Unix seconds
	start, nTokens          int
	nRows, nState           int64 // bytes
	nLogits                 int   // values
	nText, nTools           int   // bytes
	nAliases                int
	parent, key, base, prev Key
	weights                 Key
}

// head is the size of everything up to the first checksum after the header, the checksum included.
func (h *header) head() int64 {
	return headerBytes + 4*int64(h.nTokens) + 32*int64(h.nAliases) + int64(h.nTools) + int64(h.nText) + 4
}

// size is the size of the file.
func (h *header) size() int64 { return h.head() + h.nRows + h.nState + 4*int64(h.nLogits) + 4 }

// append lays the header out at the beginning of a file.
func (h *header) append(b []byte) []byte {
	le := binary.LittleEndian
	b = append(b, blockMagic...)
	b = le.AppendUint16(b, blockVersion)
	b = append(b, byte(h.kind), byte(h.reason))
	b = le.AppendUint64(b, uint64(h.created))
	b = le.AppendUint32(b, uint32(h.start))
	b = le.AppendUint32(b, uint32(h.nTokens))
	b = le.AppendUint64(b, uint64(h.nRows))
	b = le.AppendUint64(b, uint64(h.nState))
	b = le.AppendUint32(b, uint32(h.nLogits))
	b = le.AppendUint32(b, uint32(h.nText))
	b = le.AppendUint32(b, uint32(h.nTools))
	b = le.AppendUint32(b, uint32(h.nAliases))
	b = append(b, h.bits, 0, 0, 0, 0, 0, 0, 0)
	for _, k := range []*Key{&h.parent, &h.key, &h.base, &h.weights, &h.prev} {
		b = append(b, k[:]...)
	}
	return appendSum(append(b, make([]byte, 28)...))
}

// appendSum appends the checksum of everything before.
func appendSum(b []byte) []byte {
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

// parseHeader reads a header and checks it against the size of its file: whatever it says can be allocated.
func parseHeader(b []byte, fileBytes int64) (*header, error) {
	le := binary.LittleEndian
	switch {
	case len(b) < headerBytes:
		return nil, corrupt("header: want %d bytes, got %d", headerBytes, len(b))
	case string(b[:4]) != blockMagic:
		return nil, corrupt("magic: want %q, got %q", blockMagic, b[:4])
	case le.Uint16(b[4:]) != blockVersion:
		return nil, corrupt("version: want %d, got %d", blockVersion, le.Uint16(b[4:]))
	}
	if want, got := le.Uint32(b[252:]), crc32.Checksum(b[:252], castagnoli); want != got {
		return nil, corrupt("header checksum: want %08x, got %08x", want, got)
	}
	h := &header{
		kind: kind(b[6]), reason: Reason(b[7]), created: int64(le.Uint64(b[8:])),
		start: int(le.Uint32(b[16:])), nTokens: int(le.Uint32(b[20:])),
		nRows: int64(le.Uint64(b[24:])), nState: int64(le.Uint64(b[32:])),
		nLogits: int(le.Uint32(b[40:])), nText: int(le.Uint32(b[44:])), nTools: int(le.Uint32(b[48:])), nAliases: int(le.Uint32(b[52:])),
		bits: b[56],
	}
	for i, k := range []*Key{&h.parent, &h.key, &h.base, &h.weights, &h.prev} {
		copy(k[:], b[64+32*i:])
	}
	const maxBytes = 1 << 40
	switch {
	case h.kind != kindBlock && h.kind != kindEnd:
		return nil, corrupt("kind: want 1 or 2, got %d", h.kind)
	case h.start%pageTokens != 0 || h.start > math.MaxInt32-pageTokens || h.nTokens > pageTokens || h.start+h.nTokens == 0,
		h.kind == kindBlock && h.nTokens != pageTokens, h.kind == kindEnd && h.nTokens == pageTokens:
		return nil, corrupt("%s of %d tokens after %d", h.kind, h.nTokens, h.start)
	case h.nRows < 0 || h.nRows > maxBytes || h.nState < 0 || h.nState > maxBytes || h.nLogits > 1<<26,
		h.nText > maxText || h.nTools > maxTools || h.nAliases > maxAliases:
		return nil, corrupt("lengths out of range")
	case h.size() != fileBytes:
		return nil, corrupt("size: want %d bytes, got %d", h.size(), fileBytes)
	}
	return h, nil
}

func corrupt(format string, a ...any) error {
	return fmt.Errorf("%w: %s", ErrCorrupt, fmt.Sprintf(format, a...))
}

// middle is the part of a file: what can be read without the rows.
type middle struct {
	tokens  []int32
	aliases []Alias
	tools   []byte
	text    []byte
}

// file is a whole block or checkpoint.
type file struct {
	header
	middle
	rows   []byte
	state  []byte
	logits []float32
}

// encode lays the file out; the lengths in the header are set from what there is.
func (f *file) encode() []byte {
	f.nTokens, f.nAliases = len(f.tokens), len(f.aliases)
	f.nTools, f.nText = len(f.tools), len(f.text)
	f.nRows, f.nState, f.nLogits = int64(len(f.rows)), int64(len(f.state)), len(f.logits)
	le := binary.LittleEndian
	b := f.header.append(make([]byte, 0, f.size()))
	for _, t := range f.tokens {
		b = le.AppendUint32(b, uint32(t))
	}
	for i := range f.aliases {
		b = append(b, f.aliases[i][:]...)
	}
	b = append(append(b, f.tools...), f.text...)
	b = appendSum(b)
	at := len(b)
	b = append(append(b, f.rows...), f.state...)
	for _, v := range f.logits {
		b = le.AppendUint32(b, math.Float32bits(v))
	}
	return le.AppendUint32(b, crc32.Checksum(b[at:], castagnoli))
}

// readSmall reads header and middle, and checks the key: the tokens are those that it names.
func readSmall(r io.ReaderAt, fileBytes int64) (*file, error) {
	first := make([]byte, min(fileBytes, headerBytes))
	if err := readFull(r, first, 0); err != nil {
		return nil, err
	}
	h, err := parseHeader(first, fileBytes)
	if err != nil {
		return nil, err
	}
	b := make([]byte, h.head())
	if err := readFull(r, b, 0); err != nil {
		return nil, err
	}
	le := binary.LittleEndian
	n := len(b) - 4
	if want, got := le.Uint32(b[n:]), crc32.Checksum(b[:n], castagnoli); want != got {
		return nil, corrupt("checksum of the tokens: want %08x, got %08x", want, got)
	}
	f := &file{header: *h}
	b = b[headerBytes:n]
	f.tokens = make([]int32, h.nTokens)
	for i := range f.tokens {
		f.tokens[i] = int32(le.Uint32(b[4*i:]))
	}
	b = b[4*h.nTokens:]
	f.aliases = make([]Alias, h.nAliases)
	for i := range f.aliases {
		copy(f.aliases[i][:], b[32*i:])
	}
	b = b[32*h.nAliases:]
	f.tools, f.text = b[:h.nTools:h.nTools], b[h.nTools:]
	key := h.parent
	if h.nTokens > 0 {
		key = newPageHash(h.parent).at(f.tokens, h.nTokens)
	}
	if key != h.key || h.start == 0 && h.parent != h.base {
		return nil, corrupt("key: want %s, got %s", key, h.key)
	}
	return f, nil
}

// readFile reads and checks all of a file.
func readFile(r io.ReaderAt, fileBytes int64) (*file, error) {
	f, err := readSmall(r, fileBytes)
	if err != nil {
		return nil, err
	}
	h := &f.header
	b := make([]byte, h.size()-h.head())
	if err := readFull(r, b, h.head()); err != nil {
		return nil, err
	}
	le := binary.LittleEndian
	n := int64(len(b) - 4)
	if want, got := le.Uint32(b[n:]), crc32.Checksum(b[:n], castagnoli); want != got {
		return nil, corrupt("checksum of the rows: want %08x, got %08x", want, got)
	}
	f.rows, f.state = b[:h.nRows:h.nRows], b[h.nRows:h.nRows+h.nState:h.nRows+h.nState]
	f.logits = make([]float32, h.nLogits)
	for i := range f.logits {
		f.logits[i] = math.Float32frombits(le.Uint32(b[h.nRows+h.nState+4*int64(i):]))
	}
	return f, nil
}

// fits checks a file against the shape: that its rows and image are what the engine wants of them.
func (f *file) fits(r *rows) error {
	h := &f.header
	wantState, more := 0, 0
	if h.kind == kindEnd {
		wantState, more = model.StateBytes(r.shape, h.start+h.nTokens), model.WindowBytes(r.shape, h.start+h.nTokens)
	}
	if rows := r.bytes(h.nTokens); int64(rows) != h.nRows || int64(wantState) != h.nState && int64(wantState+more) != h.nState {
		return corrupt("rows and state: want %d and %d bytes, got %d and %d", rows, wantState, h.nRows, h.nState)
	}
	if h.nLogits != 0 && h.nLogits != r.shape.Vocab {
		return corrupt("logits: want none or %d, got %d", r.shape.Vocab, h.nLogits)
	}
	for i, t := range f.tokens {
		if t < 0 || int(t) >= r.shape.Vocab {
			return corrupt("token %d: want below %d, got %d", h.start+i, r.shape.Vocab, t)
		}
	}
	return nil
}

// readFull reads len(p) bytes; a short file is corrupt, other failures are the device's.
func readFull(r io.ReaderAt, p []byte, off int64) error {
	n, err := r.ReadAt(p, off)
	if n == len(p) {
		return nil
	}
	if err == nil || err == io.EOF {
		return corrupt("size: want %d bytes at %d, got %d", len(p), off, n)
	}
	return fmt.Errorf("kvstore: %w", err)
}
