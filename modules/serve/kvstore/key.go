package kvstore

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"hash"

	"github.com/ds4-go/ds4/modules/model/backend"
)

// Key is a SHA-256.
type Key [sha256.Size]byte

func (k Key) compare(o Key) int { return bytes.Compare(k[:], o[:]) }

// String is the head of the key, as it stands in file names.
func (k Key) String() string { return hex.EncodeToString(k[:20]) }

const pageTokens = backend.PageTokens

// pageHash hashes the tokens of one page step by step: at gives the key after each number of tokens.
type pageHash struct {
	h   hash.Hash
	n   int
	buf []byte
}

func newPageHash(start Key) *pageHash {
	p := &pageHash{h: sha256.New()}
	_, _ = p.h.Write(start[:])
	return p
}

// at is the key after n of the page's tokens, n not below that of the call before.
func (p *pageHash) at(tokens []int32, n int) Key {
	p.buf = p.buf[:0]
	for _, t := range tokens[p.n:n] {
		p.buf = binary.LittleEndian.AppendUint32(p.buf, uint32(t))
	}
	_, _ = p.h.Write(p.buf)
	p.n = n
	var k Key
	p.h.Sum(k[:0])
	return k
}

// chain is the keys at 0, 2048, …, up to the last whole page of the tokens, and the key at their end (the same one, if
// they end there).
func chain(root Key, tokens []int32) (pages []Key, end Key) {
	pages = append(pages, root)
	for len(tokens) >= pageTokens {
		pages = append(pages, newPageHash(pages[len(pages)-1]).at(tokens, pageTokens))
		tokens = tokens[pageTokens:]
	}
	end = pages[len(pages)-1]
	if len(tokens) > 0 {
		end = newPageHash(end).at(tokens, len(tokens))
	}
	return pages, end
}
