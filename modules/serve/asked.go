package serve

import (
	"github.com/ds4-go/ds4/modules/model/chat"
	"github.com/ds4-go/ds4/modules/serve/wire"
)

// asked are the ids of the calls that a conversation has made so far. A result of none of them says that the conversation was
// cut: the model would be given an answer to nothing. A result without an id follows its call, as in the older APIs.
type asked map[string]bool

// askedIn are those of a conversation that goes on.
func askedIn(history []chat.Message) asked {
	a := asked{}
	for i := range history {
		for _, c := range history[i].ToolCalls {
			a[c.ID] = true
		}
	}
	return a
}

// result checks a result's id, the text in key of o.
func (a asked) result(o wire.Obj, key, id string) {
	if id != "" && !a[id] {
		o.Fail(key, "want the id of a call before it in the conversation, got %q; send the whole conversation", clip(id, 100))
	}
}
