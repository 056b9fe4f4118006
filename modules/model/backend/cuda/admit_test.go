package cuda

import (
	"errors"
	"strings"
	"testing"

	"github.com/ds4-go/ds4/modules/model/backend"
)

// TestAdmit: what cannot fit is refused before anything is taken, and the refusal says what would.
func TestAdmit(t *testing.T) {
	sh := backend.Flash()
	lim := backend.Limits{CtxTokens: 1 << 20, Seqs: 4, Slots: 8, Rows: 2048, Outs: 8, Tops: 8}
	const weights = 87e9
	if err := Admit("card", 140e9, 150e9, weights, sh, lim); err != nil {
		t.Error(err)
	}
	err := Admit("card", 93e9, 96e9, weights, sh, lim)
	if !errors.Is(err, backend.ErrMemory) || !strings.Contains(err.Error(), "tokens would fit") {
		t.Errorf("want a refusal that names a context, got %v", err)
	}
	err = Admit("card", 24e9, 25e9, weights, sh, lim)
	if !errors.Is(err, backend.ErrMemory) || !strings.Contains(err.Error(), "no context fits") {
		t.Errorf("want a refusal, got %v", err)
	}
}
