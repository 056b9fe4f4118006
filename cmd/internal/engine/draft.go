package engine

import (
	"fmt"
	"slices"
	"strings"

	"github.com/ds4-go/ds4/cmd/internal/cli"
	"github.com/ds4-go/ds4/modules/gguf"
	"github.com/ds4-go/ds4/modules/model"
	"github.com/ds4-go/ds4/modules/model/draft"
)

// Drafts are the values of --draft.
var Drafts = []string{"off", "auto", "lookup", "mtp"}

// draftOuts is how many rows of a step may be guesses with logits of their own, beside one of each sequence.
const draftOuts = 64

// DraftFlags declares the flags of speculative decoding, for the programs that generate.
func (c *Config) DraftFlags(s *cli.Set) {
	s.Group("guessing ahead (the text stays the same)")
	s.String(&c.Draft, "--draft", "NAME", "off, lookup (what followed the same words before), mtp, or auto: what is there and pays")
	c.MTPFlags(s)
}

// MTPFlags is DraftFlags without --draft.
func (c *Config) MTPFlags(s *cli.Set) {
	s.String(&c.MTP, "--mtp", "FILE", "draft head of the model (\"ds4 fetch mtp\")")
	s.Int(&c.MTPDraft, "--mtp-draft", "N", "its longest guess, in tokens (4)", 1, draft.Most)
	s.Float(&c.MTPMargin, "--mtp-margin", "F", "drop its guesses whose logit leads the second by less (0)", 0, 1000)
	s.String(&c.MTPAlign, "--mtp-align", "NAME", "\"trained\", or \"same\" as the C engine shows it tokens, to compare")
}

// resolveDraft checks what the flags of speculative decoding say.
func (c *Config) resolveDraft(s *cli.Set) error {
	switch {
	case !slices.Contains(Drafts, c.Draft):
		return s.Usagef("--draft: want %s, got %q", strings.Join(Drafts, " or "), c.Draft)
	case c.MTPAlign != "trained" && c.MTPAlign != "same":
		return s.Usagef("--mtp-align: want trained or same, got %q", c.MTPAlign)
	case c.Draft == "mtp" && c.MTP == "" && !c.Demo:
		return s.Usagef("--draft mtp: want --mtp FILE as well")
	case c.MTP != "" && c.Draft == "lookup":
		return s.Usagef("--mtp and --draft lookup: want one of them")
	}
	return nil
}

// Looks says whether guesses come from what was said before, and HasHead whether they come from a draft head.
func (c *Config) Looks() bool { return c.Draft == "auto" || c.Draft == "lookup" }

// HasHead is described with Looks. The demo model brings its head along.
func (c *Config) HasHead() bool {
	return c.MTP != "" && c.Draft != "off" || c.Demo && (c.Draft == "auto" || c.Draft == "mtp")
}

// Controller makes what decides about guesses; nil where there are none.
func (c *Config) Controller() *draft.Controller {
	if !c.Looks() && !c.HasHead() {
		return nil
	}
	return draft.NewController(draft.Options{Head: c.MTPDraft, Margin: float32(c.MTPMargin)})
}

func (c *Config) align() model.Align {
	if c.MTPAlign == "same" {
		return model.AlignSame
	}
	return model.AlignNext
}

// openHead opens the draft head's file and compares it with the model's, before a device is woken for nothing.
func (m *Model) openHead(c Config) (err error) {
	if !c.HasHead() {
		return nil
	}
	path := c.MTP
	if path == "" {
		if path, err = DemoDraftPath(); err != nil {
			return err
		}
	}
	if m.head, err = gguf.Open(path); err != nil {
		return fmt.Errorf("--mtp: %w", err)
	}
	if bad := model.CheckDraftFile(m.head, m.file, m.Shape); len(bad) > 0 {
		return fmt.Errorf("--mtp %s: %w", path, bad[0])
	}
	return nil
}

// closeHead closes the draft head's file, after the device.
func (m *Model) closeHead() error {
	if m.head == nil {
		return nil
	}
	return m.head.Close()
}
