package serve

import (
	"bytes"
	"net/http"
	"time"

	"github.com/ds4-go/ds4/modules/serve/sched"
	"github.com/ds4-go/ds4/modules/serve/wire"
)

// whole waits for an answer that is no stream. With Config.BlankLines its client gets a line break now and then, which JSON
// has room for at its start: proxies and clients that give up on a silent connection do not. The status is sent with the first
// of them, so there is none before the request runs: until then it may still be refused, with a status and Retry-After.
// What fails after that is an error object behind a 200, as in a stream.
func (c *call) whole(j *job) error {
	last := time.Now()
	tick := func() error {
		if !c.s.c.BlankLines || j.start == nil || time.Since(last) < c.s.c.KeepAlive {
			return nil
		}
		last = time.Now()
		return c.blank()
	}
	return j.wait(func(sched.Batch) error { return tick() }, tick)
}

// blank begins the answer, or goes on with nothing.
func (c *call) blank() error {
	c.deadline()
	if !c.begun {
		c.begun = true
		c.w.Header().Set("Content-Type", "application/json")
		c.w.Header().Set("X-Accel-Buffering", "no")
		c.w.WriteHeader(http.StatusOK)
	}
	if _, err := c.w.Write([]byte("\n")); err != nil {
		return errGone
	}
	if err := http.NewResponseController(c.w).Flush(); err != nil {
		return errGone
	}
	return nil
}

// json answers with a JSON body.
func (c *call) json(status int, v any) error {
	c.deadline()
	var err error
	if c.begun {
		var b bytes.Buffer
		if err := wire.Encode(&b, v); err != nil {
			return err
		}
		_, err = c.w.Write(b.Bytes())
	} else {
		err = wire.WriteJSON(c.w, status, v)
	}
	if err != nil {
		c.log.Debug().Err(err).Msg("the client is gone")
	}
	return nil
}
