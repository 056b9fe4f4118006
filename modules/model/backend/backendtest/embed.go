package backendtest

import "github.com/ds4-go/ds4/modules/model/backend"

// A copy: exact.
var embed = operation{
	name: "embed", layers: outside,
	in:  []field{{name: "given", gen: normal}},
	out: []field{{name: "hc"}},
	adjust: func(s *backend.Step) { // every odd token has a row of its own instead
		for i := range s.Rows {
			if s.Rows[i].Token%2 == 1 {
				s.Rows[i].From = int32(i)
			}
		}
	},
	run: func(r *rig, _ int) {
		r.b.Embed(backend.EmbedArgs{Table: r.w.TokenEmbd, Given: r.bufs["given"], HC: r.bufs["hc"]})
	},
}
