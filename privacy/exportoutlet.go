package privacy

import (
	"context"
	"crypto/sha256"
	"errors"
	"hash"
	"io"

	"filippo.io/age"

	"github.com/crmguard/crmguard/privacy/bundle"
	"github.com/crmguard/crmguard/privacy/datastore"
)

// An outlet encrypts what is written to it. With the first byte it has the trail
// note the export, so that nothing goes out without.
type outlet struct {
	to    age.Recipient
	note  func() error
	out   counted
	plain io.WriteCloser // nil before the first byte
}

func newOutlet(w io.Writer, to age.Recipient, note func() error) *outlet {
	return &outlet{to: to, note: note, out: counted{w: w, sum: sha256.New()}}
}

// Write encrypts data.
func (o *outlet) Write(data []byte) (int, error) {
	if o.plain == nil {
		if err := o.note(); err != nil {
			return 0, err
		}
		plain, err := age.Encrypt(&o.out, o.to)
		if err != nil {
			return 0, err
		}
		o.plain = plain
	}
	return o.plain.Write(data)
}

// counted is a writer with the size and the digest of what went through.
type counted struct {
	w    io.Writer
	size int64
	sum  hash.Hash
}

// Write writes data.
func (c *counted) Write(data []byte) (int, error) {
	n, err := c.w.Write(data)
	c.size += int64(n)
	_, _ = c.sum.Write(data[:n])
	return n, err
}

// writeExport writes the whole bundle. Its errors say nothing that a store, a key
// service or a writer said.
func (d *Desk) writeExport(ctx context.Context, scope datastore.Scope, persons []string, o *outlet) (*bundle.Manifest, error) {
	manifest, err := bundle.Write(ctx, o, bundle.Config{
		Tenant: scope.Tenant, Made: scope.Now, Map: d.cfg.Map, Controller: d.cfg.Controller, Dir: d.cfg.TempDir, Open: d.cfg.Open,
	}, d.exported(ctx, scope, persons))
	if err == nil {
		err = o.plain.Close()
	}
	var ofStore *StoreError
	var ofRecord *bundle.RecordError
	var ofDesk *stateError
	switch {
	case err == nil:
		return manifest, nil
	case errors.As(err, &ofStore):
		return nil, ofStore
	case errors.As(err, &ofRecord):
		return nil, ofRecord
	case errors.As(err, &ofDesk):
		return nil, ofDesk
	case errors.Is(err, bundle.ErrSpool):
		return nil, mute("keeping the rows of an export in a temporary file", err)
	}
	return nil, mute("writing an export", err)
}
