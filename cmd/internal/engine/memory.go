package engine

import (
	"errors"
	"fmt"
	"syscall"

	"github.com/ds4-go/ds4/cmd/internal/machine"
)

// keep locks the model file in memory where that is wanted, and says so where it is larger than the memory. Only the CPU
// backend runs on the file itself.
func (m *Model) keep(c Config, h Hooks) error {
	if m.Backend != "cpu" {
		if c.Lock {
			return fmt.Errorf("--mlock: want --cpu as well; %s keeps the weights in its own way", deviceNames[m.Backend])
		}
		return nil
	}
	total, _ := machine.Memory()
	if large := larger(m.file.Size(), total); large != "" {
		if c.Lock {
			return fmt.Errorf("--mlock: %s; ds4 doctor says what would fit", large)
		}
		if h.Warn != nil {
			h.Warn(large + "; it is read from the disk again and again, which may take seconds for each token; ds4 doctor says what would fit")
		}
	}
	if !c.Lock {
		return nil
	}
	err := m.file.Lock()
	switch {
	case errors.Is(err, syscall.ENOMEM), errors.Is(err, syscall.EPERM), errors.Is(err, syscall.EAGAIN):
		return fmt.Errorf("--mlock: %w; allow it (ulimit -l unlimited, or LimitMEMLOCK=infinity of a service), or use --warm-weights", err)
	case err != nil:
		return fmt.Errorf("--mlock: %w", err)
	}
	return nil
}

// larger says that a file does not fit into the memory; "": it does, or nobody knows.
func larger(file, memory int64) string {
	if memory == 0 || file <= memory {
		return ""
	}
	return fmt.Sprintf("the model has %.1f GiB and this machine %.1f GiB of memory", float64(file)/(1<<30), float64(memory)/(1<<30))
}
