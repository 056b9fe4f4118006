package serve

import (
	"container/list"
	"sync"

	"github.com/ds4-go/ds4/modules/model/chat"
	"github.com/ds4-go/ds4/modules/serve/kvstore"
)

// replay remembers the call blocks that the model wrote, by the ids of their calls. Clients send calls back as JSON, which
// loses the order and spelling of what was sampled, and with it the known prefix.
type replay struct {
	store *kvstore.Store // nil: none
	most  int            // ids

	mu     sync.Mutex
	blocks map[string]*list.Element
	recent list.List // of replayed, the last used first
}

type replayed struct {
	id    string
	block *chat.Block
}

func newReplay(most int, store *kvstore.Store) *replay {
	return &replay{store: store, most: most, blocks: map[string]*list.Element{}}
}

// add remembers a message's block.
func (r *replay) add(m *chat.Message) {
	if r == nil || m.Block == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range m.Block.Calls {
		if _, ok := r.blocks[c.ID]; !ok {
			r.blocks[c.ID] = r.recent.PushFront(replayed{c.ID, m.Block})
		}
	}
	for len(r.blocks) > r.most {
		old := r.recent.Remove(r.recent.Back()).(replayed)
		delete(r.blocks, old.id)
	}
}

// restore gives the assistant's messages their blocks back. The renderer uses one only where it still says the same as the
// calls that the client sent. It returns how many were found, and how many messages with calls there are.
func (r *replay) restore(msgs []chat.Message) (found, of int) {
	for i := range msgs {
		m := &msgs[i]
		if len(m.ToolCalls) == 0 {
			continue
		}
		of++
		if r == nil {
			continue
		}
		if m.Block = r.find(m.ToolCalls); m.Block != nil && m.Block.Says(m.ToolCalls) {
			found++
		}
	}
	return found, of
}

func (r *replay) find(calls []chat.ToolCall) *chat.Block {
	r.mu.Lock()
	e, ok := r.blocks[calls[0].ID]
	if ok {
		r.recent.MoveToFront(e)
	}
	r.mu.Unlock()
	if ok {
		return e.Value.(replayed).block
	}
	if r.store == nil {
		return nil
	}
	text, ok := r.store.Tools([]string{calls[0].ID})[calls[0].ID]
	if !ok {
		return nil
	}
	// The file has the text alone: what it says is read again, under the ids that the client knows.
	n := 0
	p := chat.NewParser(chat.ParserOptions{NewID: func() string {
		if n++; n <= len(calls) {
			return calls[n-1].ID
		}
		return ""
	}})
	p.Write(text)
	_, res := p.Finish(chat.EndEOS)
	if res.Message.Block != nil {
		r.add(&res.Message)
	}
	return res.Message.Block
}
