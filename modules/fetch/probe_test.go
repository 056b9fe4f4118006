package fetch

import (
	"testing"
	"time"
)

func TestProbe(t *testing.T) {
	h := newHub(t, small)
	rate, err := h.client().Probe(t.Context(), h.request("", nil), 10*time.Second)
	if err != nil || rate <= 0 {
		t.Errorf("got %v bytes/s, %v", rate, err)
	}
	if n := h.askedBytes(0); n > small.size {
		t.Errorf("want at most the file, got %d bytes", n)
	}
	h.close()
	c := h.client()
	c.Retries = -1
	if _, err := c.Probe(t.Context(), h.request("", nil), time.Second); err == nil {
		t.Error("want an error from a hub that is gone")
	}
}
