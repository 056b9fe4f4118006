package kvstore

import (
	"bytes"
	"encoding/binary"
	"hash/fnv"
)

// Tool is a tool call that a checkpoint's text contains: the block that the model wrote, by the id that clients know.
type Tool struct{ ID, Block string }

const (
	toolMagic    = "KTM\x01"
	maxToolID    = 256
	maxToolBlock = 1 << 29
	maxToolCount = 400000
)

func toolHash(id string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(id))
	return h.Sum64()
}

// appendTools lays a tool map out; nothing for none.
func appendTools(b []byte, tools []Tool) []byte {
	if len(tools) == 0 {
		return b
	}
	le := binary.LittleEndian
	b = append(b, toolMagic...)
	b = le.AppendUint32(b, uint32(len(tools)))
	for _, t := range tools {
		b = le.AppendUint32(b, uint32(len(t.ID)))
		b = le.AppendUint32(b, uint32(len(t.Block)))
		b = append(append(b, t.ID...), t.Block...)
	}
	return b
}

// parseTools reads a tool map. With an error it returns the entries before the bad one, which is what ds4 uses.
func parseTools(b []byte) ([]Tool, error) {
	if len(b) == 0 {
		return nil, nil
	}
	if len(b) < 8 || string(b[:4]) != toolMagic {
		return nil, corrupt("tool map: magic: want %q", toolMagic)
	}
	le := binary.LittleEndian
	count := le.Uint32(b[4:])
	if count > maxToolCount {
		return nil, corrupt("tool map: want at most %d entries, got %d", maxToolCount, count)
	}
	b = b[8:]
	var tools []Tool
	for range count {
		if len(b) < 8 {
			return tools, corrupt("tool map: want %d entries, got %d", count, len(tools))
		}
		id, block := le.Uint32(b), le.Uint32(b[4:])
		b = b[8:]
		if id == 0 || id > maxToolID || block == 0 || block > maxToolBlock || uint64(id)+uint64(block) > uint64(len(b)) {
			return tools, corrupt("tool map: entry %d: id of %d bytes, block of %d", len(tools), id, block)
		}
		tools = append(tools, Tool{string(b[:id]), string(b[id : id+block])})
		b = b[id+block:]
	}
	return tools, nil
}

// toolsIn keeps the tools whose block occurs in the text, which is what KVC files hold.
func toolsIn(tools []Tool, text []byte) []Tool {
	var in []Tool
	for _, t := range tools {
		if len(t.ID) > 0 && len(t.ID) <= maxToolID && bytes.Contains(text, []byte(t.Block)) {
			in = append(in, t)
		}
	}
	return in
}
