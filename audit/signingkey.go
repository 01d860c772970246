package audit

import (
	"fmt"

	"github.com/crmguard/crmguard/audit/internal/keytext"
)

// signers finds out who signs, and under which verifier key.
func (c *Config) signers() error {
	switch {
	case c.Key == "":
		return nil
	case c.Signer != nil || c.Verifier != "":
		return invalid("open: Key stands for Signer and Verifier: set either")
	}
	var err error
	if c.Signer, c.Verifier, err = keytext.Read(c.Key); err != nil {
		return fmt.Errorf("%w: open: Key: %w", ErrInvalid, err)
	}
	c.Key = "" // no longer needed, and a trail may be printed
	return nil
}
