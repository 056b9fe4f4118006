package servecmd

import (
	"fmt"

	"github.com/ds4-go/ds4/cmd/internal/engine"
	"github.com/ds4-go/ds4/modules/serve/kvstore"
)

// openStore opens the disk cache.
func (r *running) openStore() (*kvstore.Store, error) {
	o := r.o
	dir, err := kvstore.OpenDir(o.kvDir)
	if err != nil {
		return nil, fmt.Errorf("--kv-disk-dir: %w", err)
	}
	id, err := engine.Identity(r.model.File())
	if err != nil {
		return nil, err
	}
	format := kvstore.Blocks
	if o.kvFormat == "v1" {
		format = kvstore.V1
	}
	s, err := kvstore.Open(kvstore.Options{Blobs: dir, Identity: id, Shape: r.model.Shape, CtxTokens: o.Ctx, BudgetBytes: int64(o.kvMB) << 20,
		BytesPerSecond: int64(o.kvRate) << 20, MinTokens: o.policy.Min, Format: format, RejectDifferentQuant: o.kvSameQuant, Log: r.diskEvent})
	if err != nil {
		return nil, fmt.Errorf("--kv-disk-dir: %w", err)
	}
	if o.kvWipe {
		if err := s.Wipe(); err != nil {
			return nil, fmt.Errorf("--kv-disk-wipe: %w", err)
		}
	}
	return s, nil
}

// diskEvent logs what the disk cache does.
func (r *running) diskEvent(e kvstore.Event) {
	l := r.log.Info()
	if e.Op == kvstore.Failed || e.Op == kvstore.Quarantined {
		l = r.log.Warn()
	}
	l = l.Str("file", e.Name).Str("reason", e.Reason.String()).Int("tokens", e.Tokens).Int64("bytes", e.Bytes).Dur("took", e.Took)
	if e.Why != "" {
		l = l.Str("why", e.Why)
	}
	if e.Err != nil {
		l = l.AnErr("error", e.Err)
	}
	l.Msg("disk cache: " + string(e.Op))
}
