package audit

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/binary"
	"fmt"

	"github.com/crmguard/crmguard/audit/auditlog"
	"github.com/crmguard/crmguard/internal/ids"
	"github.com/crmguard/crmguard/internal/sqldb"
)

// OpeningHolders counts the openings of a tenant that are sealed under a key
// key version, by the first 5 bytes of the sealed form: a holder in the sense
// of vault.DestroyKeyVersion.
func (t *Trail) OpeningHolders(ctx context.Context, tenant string, keyVersion uint32) (count int, where string, err error) {
	if err := t.ready(); err != nil {
		return 0, "", err
	}
	if err := ids.Check("tenant", tenant); err != nil {
		return 0, "", invalid("holders: %w", err)
	}
	prefix := binary.BigEndian.AppendUint32([]byte{1}, keyVersion)
	_, err = t.one(ctx, t.db, []any{&count}, `SELECT COUNT(*) FROM crmguard_audit_openings WHERE tenant = ? AND SUBSTR(sealed, 1, 5) = ?`, tenant, prefix)
	return count, "crmguard_audit_openings", err
}

// ResealReport is what [Trail.ResealOpenings] did.
type ResealReport struct {
	Seen     int // openings looked at
	Resealed int // rewritten
	Raced    int // changed or erased between reading and writing: left alone
	Orphans  int // of a surrogate without a person: left alone, see VerifyStore
}

// ResealOpenings hands each opening to reseal, which returns it sealed under
// the active key version (or unchanged), and writes it back where it is still
// the one that was read. Tenant, person ("" for nobody) and ad are what it was
// sealed with. It can be interrupted and repeated.
func (t *Trail) ResealOpenings(ctx context.Context, reseal func(ctx context.Context, tenant, person string, sealed, ad []byte) ([]byte, error)) (ResealReport, error) {
	var (
		r    ResealReport
		last sealedRow
	)
	if err := t.ready(); err != nil {
		return r, err
	}
	if reseal == nil {
		return r, invalid("reseal: no func was handed in")
	}
	for {
		page, err := t.sealedAfter(ctx, last)
		if err != nil || len(page) == 0 {
			return r, err
		}
		last = page[len(page)-1]
		changed, err := t.resealed(ctx, page, &r, reseal)
		if err != nil {
			return r, err
		}
		if len(changed) == 0 {
			continue
		}
		if err := t.swap(ctx, changed, &r); err != nil {
			return r, err
		}
	}
}

type sealedRow struct {
	event, owner, tenant string
	person               sql.NullString
	sealed, fresh        []byte
}

const resealBatch = 500

func (t *Trail) sealedAfter(ctx context.Context, last sealedRow) (page []sealedRow, err error) {
	p := sqldb.Page{
		Table:   "crmguard_audit_openings o LEFT JOIN crmguard_audit_surrogates s ON s.tenant = o.tenant AND s.surrogate = o.owner",
		Columns: []string{"o.event", "o.owner", "o.tenant", "o.sealed", "s.person"},
		Key:     []string{"o.event", "o.owner"}, After: []any{last.event, last.owner}, Limit: resealBatch, // nothing comes before the empty text
	}
	err = t.page(ctx, t.db, func(rows answer) error {
		var s sealedRow
		err := rows.Scan(&s.event, &s.owner, &s.tenant, &s.sealed, &s.person)
		page = append(page, s)
		return err
	}, p)
	return page, err
}

func (t *Trail) resealed(ctx context.Context, page []sealedRow, r *ResealReport, reseal func(ctx context.Context, tenant, person string, sealed, ad []byte) ([]byte, error)) ([]sealedRow, error) {
	var changed []sealedRow
	for _, s := range page {
		r.Seen++
		id, err := parseID(s.event)
		if err != nil || (s.owner != auditlog.Nobody && !s.person.Valid) {
			r.Orphans++
			continue
		}
		if s.fresh, err = reseal(ctx, s.tenant, s.person.String, s.sealed, openingAD(id)); err != nil {
			return nil, fmt.Errorf("audit: reseal: %w", err)
		}
		if !bytes.Equal(s.fresh, s.sealed) {
			changed = append(changed, s)
		}
	}
	return changed, nil
}

func (t *Trail) swap(ctx context.Context, changed []sealedRow, r *ResealReport) error {
	var done, raced int
	err := t.within(ctx, func(tx Tx) error {
		done, raced = 0, 0
		for _, s := range changed {
			n, err := t.exec(ctx, tx, `UPDATE crmguard_audit_openings SET sealed = ? WHERE event = ? AND owner = ? AND sealed = ?`, s.fresh, s.event, s.owner, s.sealed)
			if err != nil {
				return err
			}
			if n == 1 {
				done++
			} else {
				raced++
			}
		}
		return nil
	})
	if err == nil {
		r.Resealed, r.Raced = r.Resealed+done, r.Raced+raced
	}
	return err
}
