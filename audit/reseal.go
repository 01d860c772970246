package audit

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"

	"github.com/crmguard/crmguard/audit/auditlog"
	"github.com/crmguard/crmguard/internal/ids"
	"github.com/crmguard/crmguard/internal/sqldb"
)

// OpeningHolders counts the heads of surrogates of a tenant that are sealed under
// a key version, by the first 5 bytes of the sealed form: a holder in the sense of
// vault.DestroyKeyVersion. There is one head a person, and one for what is about
// nobody; with it goes all that was sealed about the person. As long as Config.Mirror
// may hold other ones than the database, all of them count.
func (t *Trail) OpeningHolders(ctx context.Context, tenant string, keyVersion uint32) (count int, where string, err error) {
	if err := t.ready(); err != nil {
		return 0, "", err
	}
	if err := ids.Check("tenant", tenant); err != nil {
		return 0, "", invalid("holders: %w", err)
	}
	prefix := binary.BigEndian.AppendUint32([]byte{1}, keyVersion)
	if _, err = t.one(ctx, t.db, []any{&count}, `SELECT COUNT(*) FROM crmguard_audit_surrogates WHERE tenant = ? AND SUBSTR(head, 1, 5) = ?`, tenant, prefix); err != nil || count > 0 {
		return count, surrogatesTable, err
	}
	if count, err = t.unmirroredHeads(ctx, tenant); count > 0 {
		return count, "Config.Mirror", err
	}
	return count, surrogatesTable, err
}

// ResealReport is what [Trail.Reseal] did.
type ResealReport struct {
	Seen     int // heads of surrogates looked at, one a person
	Resealed int // rewritten
	Raced    int // changed or erased between reading and writing: left alone
	Orphans  int // of a surrogate whose person is not known: left alone, see VerifyStore
}

// Reseal hands each head of a surrogate to reseal, which returns it sealed under
// the active key version (or unchanged), and writes it back where it is still the
// one that was read: one row a person, however many events there are. Tenant,
// person ("" for nobody) and ad are what it was sealed with. Config.Mirror has the
// new ones when it returns. It can be interrupted and repeated.
func (t *Trail) Reseal(ctx context.Context, reseal func(ctx context.Context, tenant, person string, sealed, ad []byte) ([]byte, error)) (ResealReport, error) {
	var r ResealReport
	if err := t.ready(); err != nil {
		return r, err
	}
	if reseal == nil {
		return r, invalid("reseal: no func was handed in")
	}
	for last := int64(0); ; {
		page, err := t.headsAfter(ctx, last)
		if err != nil {
			return r, err
		}
		if len(page) == 0 {
			if err := t.mirrorResealed(ctx); err != nil {
				return r, fmt.Errorf("audit: reseal: %w", err)
			}
			return r, nil
		}
		last = page[len(page)-1].n
		changed, err := t.resealed(ctx, page, &r, reseal)
		if err != nil {
			return r, err
		}
		if len(changed) == 0 {
			continue
		}
		if r.Resealed == 0 { // before the first one: what follows may be stopped
			if err := t.mirrorPeopleAnew(ctx); err != nil {
				return r, fmt.Errorf("audit: reseal: %w", err)
			}
		}
		if err := t.swap(ctx, changed, &r); err != nil {
			return r, err
		}
	}
}

// personRow is a row of a surrogate with all that it says.
type personRow struct {
	surrogateMark
	n, k   int64
	short  bool    // the surrogate has not its 16 bytes
	person *string // nil: not known, or erased
	head   []byte
	fresh  []byte

	keep   bool // the head is opened once, until wipe
	opened *auditlog.Head
}

const resealBatch = 500

func personColumns() []string {
	return []string{"n", "k", "tenant", upTo(mostID, "surrogate"), "state", upTo(mostID, "into_surrogate"), upTo(tagSize, "tag"), "person", upTo(mostSmall, "head")}
}

func scanPerson(rows answer) (p personRow, err error) {
	var raw []byte
	var state int64
	err = rows.Scan(&p.n, &p.k, &p.tenant, &raw, &state, &p.into, &p.tag, &p.person, &p.head)
	p.fill(raw, state)
	p.short = len(raw) != len(p.surrogate)
	return p, err
}

// peopleAfter reads the rows of surrogates behind one.
func (t *Trail) peopleAfter(ctx context.Context, q sqldb.Querier, after int64, where string, limit int, args ...any) (page []personRow, err error) {
	err = t.page(ctx, q, func(rows answer) error {
		p, err := scanPerson(rows)
		page = append(page, p)
		return err
	}, sqldb.Page{Table: surrogatesTable, Columns: personColumns(), Key: []string{"n"}, Where: where, Args: args, After: []any{after}, Limit: limit})
	return page, err
}

func (t *Trail) headsAfter(ctx context.Context, after int64) ([]personRow, error) {
	return t.peopleAfter(ctx, t.db, after, "head IS NOT NULL", resealBatch)
}

func (t *Trail) resealed(ctx context.Context, page []personRow, r *ResealReport, reseal func(ctx context.Context, tenant, person string, sealed, ad []byte) ([]byte, error)) ([]personRow, error) {
	var changed []personRow
	for _, p := range page {
		r.Seen++
		if p.person == nil {
			r.Orphans++
			continue
		}
		var err error
		if p.fresh, err = reseal(ctx, p.tenant, *p.person, p.head, auditlog.HeadData(t.config.Name, p.surrogate)); err != nil {
			return nil, fmt.Errorf("audit: reseal: %w", err)
		}
		if !bytes.Equal(p.fresh, p.head) {
			changed = append(changed, p)
		}
	}
	return changed, nil
}

func (t *Trail) swap(ctx context.Context, changed []personRow, r *ResealReport) error {
	var done, raced int
	err := t.within(ctx, func(tx HandoverTx) error {
		done, raced = 0, 0
		for _, p := range changed {
			n, err := t.exec(ctx, tx, `UPDATE crmguard_audit_surrogates SET head = ? WHERE n = ? AND head = ?`, p.fresh, p.n, p.head)
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
