package audit

import (
	"bytes"
	"context"
	"fmt"

	"github.com/crmguard/crmguard/audit/auditlog"
	"github.com/crmguard/crmguard/internal/sqldb"
)

// The column person says whose a surrogate is, and who may write the table may
// exchange two of them: an erasure of the one would destroy what is recorded about
// the other. A row is believed under its tag, or where its head opens for the person.

// rowsFor are the rows that say they are a person's: the person's own first, and
// those that were merged into it. Nobody believes them yet.
func (t *Trail) rowsFor(ctx context.Context, q sqldb.Querier, tenant, person string) (out []personRow, err error) {
	if person == "" {
		return nil, nil
	}
	if out, err = t.peopleAfter(ctx, q, 0, "tenant = ? AND person = ?", 1, tenant, person); err != nil || len(out) == 0 {
		return nil, err
	}
	for after, own := int64(0), out[0].surrogate; ; {
		page, err := t.peopleAfter(ctx, q, after, "tenant = ? AND into_surrogate = ?", rowsAStatement, tenant, own[:])
		if err != nil {
			return nil, err
		}
		out = append(out, page...)
		if len(page) < rowsAStatement {
			return out, nil
		}
		after = page[len(page)-1].n
	}
}

// sameRows says that rows say the same.
func sameRows(a, b []personRow) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		p, q := &a[i], &b[i]
		if p.n != q.n || p.surrogate != q.surrogate || p.state != q.state || !bytes.Equal(p.into, q.into) || !bytes.Equal(p.tag, q.tag) || p.whose() != q.whose() {
			return false
		}
	}
	return true
}

// believe are those of the rows of a person that are the person's. Where the
// person's own is somebody else's, or may be, that is an error.
func (t *Trail) believe(ctx context.Context, person string, rows []personRow, keys []macKey) (out []surrogateID, err error) {
	for i := range rows {
		p := &rows[i]
		own := i == 0
		if own && p.state != surrogateLive {
			return nil, nil // a tombstone is nobody's, and nobody is merged into one
		}
		right := !p.short && p.check(keys) == tagRight
		if !right && own {
			theirs, err := t.opens(ctx, p, person)
			if err != nil {
				return nil, err
			}
			if !theirs {
				return nil, exchanged(p)
			}
			right = true
		}
		if right && p.state != surrogateErased && p.state != surrogateErasing {
			out = append(out, p.surrogateID)
		}
	}
	return out, nil
}

// exchanged says that nobody vouches for whose a row is.
func exchanged(p *personRow) error {
	return fmt.Errorf("%w: row %d of %s: somebody without the key of the tags has changed whose surrogate it is; CatchUp sets it right, and VerifyStore tells of all such rows", auditlog.ErrTampered, p.n, surrogatesTable)
}

// surrogatesFor are the surrogates of a person: the person's own first, and those
// that were merged into it.
func (t *Trail) surrogatesFor(ctx context.Context, tenant, person string) ([]surrogateID, error) {
	rows, err := t.rowsFor(ctx, t.db, tenant, person)
	if err != nil || len(rows) == 0 {
		return nil, err
	}
	keys, err := t.macKeys(ctx, tenant, surrogateKeyLabel)
	if err != nil {
		return nil, err
	}
	defer wipe(keys)
	return t.believe(ctx, person, rows, keys)
}
