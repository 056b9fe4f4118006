package kvstore

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash/crc32"
	"math"
)

// entry is what the index knows of a file.
//
//	 0  1   kind
//	 1  1   reason
//	 2  1   bits of the routed experts
//	 3  1   bytes of the name
//	 4  4   tokens up to the file's end
//	 8  8   bytes
//	16  8   created, Unix seconds
//	24  8   last used
//	32  4   hits
//	36  4   KVC: bytes of text
//	40  32  key; KVC: SHA-1 of the text, zeros
//	72  32  K(start)
//	104 32  K(0)
//	136 32  identity of the weights
//	168 32  key of the checkpoint before
//	200 4   aliases
//	204 4   tool ids
//	208     name · aliases, 32 bytes each · tool ids, 8 bytes of hash each
type entry struct {
	name                    string
	kind                    kind
	reason                  Reason
	bits                    uint8
	tokens                  int
	bytes                   int64
	created, used           int64
	hits                    uint32
	text                    int
	key, parent, base, prev Key
	weights                 Key
	aliases                 []Alias
	tools                   []uint64
}

const (
	indexName    = "index"
	indexMagic   = "DS4I"
	indexVersion = 1
	indexHead    = 24
	entryFixed   = 208
	maxIndex     = 1 << 30 // bytes
	maxTools1    = 1 << 20 // ids of one entry
)

// start is the number of tokens before the file's own.
func (e *entry) start() int {
	switch e.kind {
	case kindBlock:
		return e.tokens - pageTokens
	case kindEnd:
		return e.tokens / pageTokens * pageTokens
	}
	return 0
}

// fileName is where a block or checkpoint lies.
func fileName(k kind, key, weights Key) string {
	ext := ".blk"
	if k == kindEnd {
		ext = ".end"
	}
	return key.String() + "-" + hex.EncodeToString(weights[:4]) + ext
}

func (e *entry) append(b []byte) []byte {
	le := binary.LittleEndian
	b = append(b, byte(e.kind), byte(e.reason), e.bits, byte(len(e.name)))
	b = le.AppendUint32(b, uint32(e.tokens))
	b = le.AppendUint64(b, uint64(e.bytes))
	b = le.AppendUint64(b, uint64(e.created))
	b = le.AppendUint64(b, uint64(e.used))
	b = le.AppendUint32(b, e.hits)
	b = le.AppendUint32(b, uint32(e.text))
	for _, k := range []*Key{&e.key, &e.parent, &e.base, &e.weights, &e.prev} {
		b = append(b, k[:]...)
	}
	b = le.AppendUint32(b, uint32(len(e.aliases)))
	b = le.AppendUint32(b, uint32(len(e.tools)))
	b = append(b, e.name...)
	for i := range e.aliases {
		b = append(b, e.aliases[i][:]...)
	}
	for _, t := range e.tools {
		b = le.AppendUint64(b, t)
	}
	return b
}

// parseEntry reads one entry and returns what follows it.
func parseEntry(b []byte) (*entry, []byte, error) {
	if len(b) < entryFixed {
		return nil, nil, corrupt("index: entry: want %d bytes, got %d", entryFixed, len(b))
	}
	le := binary.LittleEndian
	e := &entry{
		kind: kind(b[0]), reason: Reason(b[1]), bits: b[2], tokens: int(le.Uint32(b[4:])), bytes: int64(le.Uint64(b[8:])),
		created: int64(le.Uint64(b[16:])), used: int64(le.Uint64(b[24:])), hits: le.Uint32(b[32:]), text: int(le.Uint32(b[36:])),
	}
	for i, k := range []*Key{&e.key, &e.parent, &e.base, &e.weights, &e.prev} {
		copy(k[:], b[40+32*i:])
	}
	name, aliases, tools := int(b[3]), le.Uint32(b[200:]), le.Uint32(b[204:])
	if e.kind < kindBlock || e.kind > kindBad || e.tokens > math.MaxInt32 || e.bytes < 0 || e.bytes > 1<<42 ||
		aliases > maxAliases || tools > maxTools1 || e.text > maxText {
		return nil, nil, corrupt("index: entry out of range")
	}
	b = b[entryFixed:]
	if need := name + 32*int(aliases) + 8*int(tools); len(b) < need {
		return nil, nil, corrupt("index: entry: want %d bytes, got %d", need, len(b))
	}
	e.name, b = string(b[:name]), b[name:]
	if err := checkName(e.name); err != nil {
		return nil, nil, corrupt("index: %s", err)
	}
	for range aliases {
		e.aliases, b = append(e.aliases, Alias(b[:32])), b[32:]
	}
	for range tools {
		e.tools, b = append(e.tools, le.Uint64(b)), b[8:]
	}
	return e, b, nil
}

// encodeIndex lays the index out.
func encodeIndex(generation uint64, entries map[string]*entry) []byte {
	le := binary.LittleEndian
	b := append([]byte(nil), indexMagic...)
	b = le.AppendUint32(b, indexVersion)
	b = le.AppendUint64(b, generation)
	b = le.AppendUint32(b, uint32(len(entries)))
	b = le.AppendUint32(b, 0)
	for _, e := range entries {
		b = e.append(b)
	}
	return appendSum(b)
}

// parseIndex reads an index.
func parseIndex(b []byte) (generation uint64, entries map[string]*entry, err error) {
	le := binary.LittleEndian
	switch {
	case len(b) < indexHead+4 || string(b[:4]) != indexMagic:
		return 0, nil, corrupt("index: magic: want %q", indexMagic)
	case le.Uint32(b[4:]) != indexVersion:
		return 0, nil, corrupt("index: version: want %d, got %d", indexVersion, le.Uint32(b[4:]))
	}
	n := len(b) - 4
	if want, got := le.Uint32(b[n:]), crc32.Checksum(b[:n], castagnoli); want != got {
		return 0, nil, corrupt("index: checksum: want %08x, got %08x", want, got)
	}
	generation, count := le.Uint64(b[8:]), int(le.Uint32(b[16:]))
	b = b[indexHead:n]
	if count > len(b)/entryFixed {
		return 0, nil, corrupt("index: %d entries in %d bytes", count, len(b))
	}
	entries = make(map[string]*entry, count)
	for range count {
		var e *entry
		if e, b, err = parseEntry(b); err != nil {
			return 0, nil, err
		}
		if _, twice := entries[e.name]; twice {
			return 0, nil, corrupt("index: %s twice", e.name)
		}
		entries[e.name] = e
	}
	if len(b) != 0 {
		return 0, nil, corrupt("index: %d bytes too many", len(b))
	}
	return generation, entries, nil
}

// readGeneration reads the head of the index alone.
func readGeneration(b Blob) (uint64, error) {
	var p [indexHead]byte
	if err := readFull(b, p[:], 0); err != nil {
		return 0, err
	}
	if string(p[:4]) != indexMagic {
		return 0, corrupt("index: magic: want %q, got %q", indexMagic, p[:4])
	}
	return binary.LittleEndian.Uint64(p[8:]), nil
}

// entryOf describes a block or checkpoint from its file.
func entryOf(name string, f *file) (*entry, error) {
	h := &f.header
	if want := fileName(h.kind, h.key, h.weights); want != name {
		return nil, corrupt("name: want %s, got %s", want, name)
	}
	e := &entry{
		name: name, kind: h.kind, reason: h.reason, bits: h.bits, tokens: h.start + h.nTokens, bytes: h.size(),
		created: h.created, used: h.created, key: h.key, parent: h.parent, base: h.base, weights: h.weights, prev: h.prev,
		aliases: f.aliases,
	}
	tools, err := parseTools(f.tools)
	if err != nil {
		return nil, err
	}
	for _, t := range tools {
		e.tools = append(e.tools, toolHash(t.ID))
	}
	return e, nil
}

// String is for events.
func (e *entry) String() string {
	return fmt.Sprintf("%s: %s of %d tokens, %d bytes", e.name, e.kind, e.tokens, e.bytes)
}
