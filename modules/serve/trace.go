package serve

import (
	"encoding/json"
	"maps"
	"time"
)

// trace writes one line of JSON about a request: what came, what was rendered, what was known of it, what came out. The
// lines of one request have its id.
func (c *call) trace(event string, fields map[string]any) {
	w := c.s.c.Trace
	if w == nil {
		return
	}
	line := maps.Clone(fields)
	line["time"], line["request"], line["event"] = time.Now().UTC().Format(time.RFC3339Nano), c.id, event
	b, err := json.Marshal(line)
	if err != nil {
		c.log.Error().Err(err).Msg("trace")
		return
	}
	c.s.traceMu.Lock()
	defer c.s.traceMu.Unlock()
	if _, err := w.Write(append(b, '\n')); err != nil {
		c.log.Error().Err(err).Msg("trace")
	}
}
