package kvstore

import (
	"crypto/sha1"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"math"

	"github.com/ds4-go/ds4/modules/model"
	"github.com/ds4-go/ds4/modules/model/dsv4"
)

const (
	kvcMagic   = "KVC\x01"
	kvcHeader  = 48
	kvcHasTool = 1
)

// kvc is an open KVC file; see doc.go. It has no checksum: its name is the hash of its text, and dsv4 knows what rows look like.
type kvc struct {
	bits           uint8
	reason         Reason
	flags          uint8
	tokens         int
	hits           uint32
	ctx            int
	created, used  int64
	text           []byte
	payload        io.ReaderAt
	payloadBytes   int64
	bytes, toolsAt int64
	r              io.ReaderAt
}

// openKVC reads the header and the text.
func openKVC(b Blob) (*kvc, error) {
	var h [kvcHeader + 4]byte
	if err := readFull(b, h[:], 0); err != nil {
		return nil, err
	}
	le := binary.LittleEndian
	k := &kvc{
		bits: h[4], reason: Reason(h[5]), flags: h[6], tokens: int(le.Uint32(h[8:])), hits: le.Uint32(h[12:]), ctx: int(le.Uint32(h[16:])),
		created: int64(le.Uint64(h[24:])), used: int64(le.Uint64(h[32:])), payloadBytes: int64(le.Uint64(h[40:])), bytes: b.Size(), r: b,
	}
	text := int64(le.Uint32(h[48:]))
	switch {
	case string(h[:4]) != kvcMagic:
		return nil, corrupt("kvc: magic: want %q, got %q", kvcMagic, h[:4])
	case k.bits != 2 && k.bits != 4:
		return nil, corrupt("kvc: bits of the experts: want 2 or 4, got %d", k.bits)
	case k.tokens < 1 || k.tokens > math.MaxInt32:
		return nil, corrupt("kvc: tokens: want at least 1, got %d", k.tokens)
	case k.payloadBytes < 0 || text > maxText || k.payloadBytes > b.Size()-int64(len(h))-text:
		return nil, corrupt("kvc: text and payload: want at most %d bytes, got %d and %d", b.Size()-int64(len(h)), text, k.payloadBytes)
	}
	k.text = make([]byte, text)
	if err := readFull(b, k.text, int64(len(h))); err != nil {
		return nil, err
	}
	k.payload = io.NewSectionReader(b, int64(len(h))+text, k.payloadBytes)
	k.toolsAt = int64(len(h)) + text + k.payloadBytes
	return k, nil
}

// tools reads the tool map. ds4 stops at the first bad entry, and so do we.
func (k *kvc) tools() ([]Tool, error) {
	if k.flags&kvcHasTool == 0 || k.bytes-k.toolsAt > maxTools {
		return nil, nil
	}
	b := make([]byte, k.bytes-k.toolsAt)
	if err := readFull(k.r, b, k.toolsAt); err != nil {
		return nil, err
	}
	tools, _ := parseTools(b)
	return tools, nil
}

// open checks the payload's head.
func (k *kvc) open(s model.Shape) (*dsv4.Payload, error) {
	p, err := dsv4.Open(k.payload, k.payloadBytes, s)
	if err != nil {
		return nil, badPayload(err)
	}
	if len(p.Tokens()) != k.tokens {
		return nil, corrupt("kvc: payload: want %d tokens, got %d", k.tokens, len(p.Tokens()))
	}
	return p, nil
}

func kvcName(text []byte) string {
	sum := sha1.Sum(text)
	return hex.EncodeToString(sum[:]) + ".kv"
}

func textKey(sum [sha1.Size]byte) Key {
	var k Key
	copy(k[:], sum[:])
	return k
}

// entry describes the file.
func (k *kvc) entry(name string) (*entry, error) {
	if want := kvcName(k.text); want != name {
		return nil, corrupt("kvc: name: want %s, got %s", want, name)
	}
	e := &entry{name: name, kind: kindKVC, reason: k.reason, bits: k.bits, tokens: k.tokens, bytes: k.bytes, created: k.created,
		used: k.used, hits: k.hits, text: len(k.text), key: textKey(sha1.Sum(k.text))}
	tools, err := k.tools()
	if err != nil {
		return nil, err
	}
	for _, t := range tools[:min(len(tools), maxTools1)] {
		e.tools = append(e.tools, toolHash(t.ID))
	}
	return e, nil
}

// kvcFile is one to be written.
type kvcFile struct {
	bits    uint8
	reason  Reason
	created int64
	text    []byte
	tools   []Tool
	session dsv4.Session
}

func (k *kvcFile) size(s model.Shape) int64 {
	return kvcHeader + 4 + int64(len(k.text)) + dsv4.Bytes(s, len(k.session.Tokens)) + int64(len(appendTools(nil, k.tools)))
}

func (k *kvcFile) write(w io.WriterAt, s model.Shape) error {
	le := binary.LittleEndian
	payload, tools := dsv4.Bytes(s, len(k.session.Tokens)), appendTools(nil, k.tools)
	flags := byte(0)
	if len(tools) > 0 {
		flags = kvcHasTool
	}
	b := append([]byte(nil), kvcMagic...)
	b = append(b, k.bits, byte(k.reason), flags, 0)
	b = le.AppendUint32(b, uint32(len(k.session.Tokens)))
	b = le.AppendUint32(b, 0)
	b = le.AppendUint32(b, uint32(k.session.CtxTokens))
	b = le.AppendUint32(b, 0)
	b = le.AppendUint64(b, uint64(k.created))
	b = le.AppendUint64(b, uint64(k.created))
	b = le.AppendUint64(b, uint64(payload))
	b = le.AppendUint32(b, uint32(len(k.text)))
	b = append(b, k.text...)
	if _, err := w.WriteAt(b, 0); err != nil {
		return fmt.Errorf("kvstore: %w", err)
	}
	if len(tools) > 0 {
		if _, err := w.WriteAt(tools, int64(len(b))+payload); err != nil {
			return fmt.Errorf("kvstore: %w", err)
		}
	}
	return dsv4.Write(shifted{w, int64(len(b))}, s, k.session)
}

// byText lists the KVC files whose text the given one begins with, longest first.
func (c *catalog) byText(text []byte) []*entry {
	var found []*entry
	h, at := sha1.New(), 0
	for _, n := range sortedKeys(c.kvc) {
		if n >= len(text) {
			break
		}
		_, _ = h.Write(text[at:n])
		at = n
		var sum [sha1.Size]byte
		h.Sum(sum[:0])
		key := textKey(sum)
		for _, e := range c.kvc[n] {
			if e.key == key {
				found = append([]*entry{e}, found...)
			}
		}
	}
	return found
}

// entry describes a file that will be written.
func (k *kvcFile) entry(s model.Shape) *entry {
	e := &entry{name: kvcName(k.text), kind: kindKVC, reason: k.reason, bits: k.bits, tokens: len(k.session.Tokens), bytes: k.size(s),
		created: k.created, used: k.created, text: len(k.text), key: textKey(sha1.Sum(k.text))}
	for _, t := range k.tools[:min(len(k.tools), maxTools1)] {
		e.tools = append(e.tools, toolHash(t.ID))
	}
	return e
}
