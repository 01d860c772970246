package privacy

import (
	"context"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/crmguard/crmguard/privacy/erasurelog"
)

// What an erased person was known by stands on the suppression list: in the
// ledger, as keyed digests, which a restore of the database does not take away.
// Whoever has the list and no ledger root cannot try addresses out.

// suppressionKind and the kind of an identity are the kind of its digests.
const suppressionKind = "suppressed/"

// spelling is a value without what does not count: case, and white space around it.
func spelling(value string) []byte { return []byte(strings.ToLower(strings.TrimSpace(value))) }

// Suppressed says whether somebody who was known by the value, such as an e-mail
// address (kind is that of the data map's Column.Identity), was erased, and since
// when: an import asks before it brings such a person back. Case and white space
// around the value do not count; other spellings do. A person is on the list from
// the moment at which the erasure begins; a voided one takes nobody there. The
// ledger is read without its anchors.
func (d *Desk) Suppressed(ctx context.Context, tenant, kind, value string) (since time.Time, ok bool, err error) {
	if err := validID("tenant", tenant); err != nil {
		return time.Time{}, false, err
	}
	keys, err := d.cfg.Ledger.Keys(ctx, suppressionKind+kind, tenant, spelling(value))
	if err != nil {
		return time.Time{}, false, err
	}
	s, err := d.cfg.Ledger.Latest(ctx)
	if err != nil {
		return time.Time{}, false, err
	}
	since, ok = s.Suppressed(keys...)
	return since, ok, nil
}

// Unsuppress takes a value from the list: its owner has signed up anew. It stands
// in the ledger, too.
func (d *Desk) Unsuppress(ctx context.Context, tenant, kind, value string) error {
	if err := validID("tenant", tenant); err != nil {
		return err
	}
	if err := d.allow(ctx, "privacy.unsuppress", "privacy"); err != nil {
		return err
	}
	keys, err := d.cfg.Ledger.Keys(ctx, suppressionKind+kind, tenant, spelling(value))
	if err != nil {
		return err
	}
	drawn, err := uuid.NewV7()
	if err != nil {
		return mute("drawing an id", err)
	}
	return d.entered(ctx, tenant, "privacy.unsuppress", nil, func(s *erasurelog.State) (*erasurelog.Entry, error) {
		if _, listed := s.Suppressed(keys...); !listed {
			return nil, nil
		}
		e := &erasurelog.Entry{Op: erasurelog.Unsuppress, Plan: drawn.String()}
		w := digesting{ctx: ctx, d: d, tenant: tenant, entry: e}
		e.Tenant = w.digest(erasurelog.KindTenant, []byte(tenant))
		e.Known = []string{w.known(kind, value)}
		return e, w.err
	})
}
