package audit

import (
	"context"
)

// passKeys are the keys that a pass of the sequencer needs, asked for once a
// tenant and outside of any transaction, because a service may hold them.
type passKeys struct {
	by map[string]filingKeys
}

// filingKeys are those of a tenant: none where they do not answer, and what needs
// them waits.
type filingKeys struct{ queue, surrogates []macKey }

func newPassKeys() *passKeys { return &passKeys{by: make(map[string]filingKeys)} }

// fetch asks for the keys of a tenant, unless it has them. An error is one of the
// context alone.
func (p *passKeys) fetch(ctx context.Context, t *Trail, tenant string) error {
	if _, asked := p.by[tenant]; asked || tenant == "" {
		return ctx.Err()
	}
	queue, err := t.macKeys(ctx, tenant, queueKeyLabel)
	var surrogates []macKey
	if err == nil {
		surrogates, err = t.macKeys(ctx, tenant, surrogateKeyLabel)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if err != nil {
		t.observe(ctx, "audit.keys.failed", 1)
		queue, surrogates = nil, nil
	}
	p.by[tenant] = filingKeys{queue, surrogates}
	return nil
}

func (p *passKeys) wipe() {
	for _, k := range p.by {
		wipe(k.queue)
		wipe(k.surrogates)
	}
}
