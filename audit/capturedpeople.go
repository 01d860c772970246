package audit

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"github.com/crmguard/crmguard/audit/capture"
	"github.com/crmguard/crmguard/internal/ids"
	"github.com/crmguard/crmguard/internal/sqldb"
)

// The key of a row of a table of persons is a person's id. It never enters the
// log: a surrogate does, if the trail has drawn one.

// personID is a person of a tenant.
type personID struct{ tenant, person string }

// capturedKeys asks for the keys of those whom captured rows are about, outside of
// any transaction.
func (t *Trail) capturedKeys(ctx context.Context, rows []capture.Row, keys *passKeys) error {
	for i := range rows {
		if len(t.capturedPersons(&rows[i])) > 0 {
			if err := keys.fetch(ctx, t, rows[i].Tenant); err != nil {
				return err
			}
		}
	}
	return nil
}

// capturedPersons are the persons whom a row names: as what it was, or as whom it is
// about.
func (t *Trail) capturedPersons(r *capture.Row) (out []personID) {
	if ids.Check("tenant", r.Tenant) != nil || checkOpaque("tenant", r.Tenant) != nil {
		return nil // it may not stand in the log, nor who is named under it
	}
	if r.Key != "" && t.isPersonKind(r.Kind) {
		out = append(out, personID{r.Tenant, r.Key})
	}
	if r.Person != "" {
		out = append(out, personID{r.Tenant, r.Person})
	}
	return out
}

// capturedPeople are the surrogates of the persons that captured rows name: those
// that a tag says are theirs.
func (t *Trail) capturedPeople(ctx context.Context, q sqldb.Querier, rows []capture.Row, keys *passKeys) (map[personID][16]byte, error) {
	by := make(map[string][]any) // persons by tenant
	seen := make(map[personID]bool)
	for i := range rows {
		for _, p := range t.capturedPersons(&rows[i]) {
			if !seen[p] {
				seen[p] = true
				by[p.tenant] = append(by[p.tenant], p.person)
			}
		}
	}
	out := make(map[personID][16]byte)
	for tenant, all := range by {
		for part := range slices.Chunk(all, rowsAStatement) {
			err := t.query(ctx, q, func(found answer) error {
				r, err := scanSurrogate(found, tenant)
				if err == nil && r.person != nil && r.check(keys.by[tenant].surrogates) == tagRight {
					out[personID{tenant, *r.person}] = r.surrogate
				}
				return err
			}, `SELECT `+markColumns+` FROM crmguard_audit_surrogates WHERE tenant = ? AND state = 0 AND person IN (`+sqldb.Marks(len(part))+`)`, append([]any{tenant}, part...)...)
			if err != nil {
				return nil, err
			}
		}
	}
	return out, nil
}

// capturedSurrogate answers for a [capture.Filing].
func (t *Trail) capturedSurrogate(people map[personID][16]byte) func(tenant, kind, key string) (string, bool) {
	return func(tenant, kind, key string) (string, bool) {
		if !t.isPersonKind(kind) {
			return "", false
		}
		surrogate, found := people[personID{tenant, key}]
		if !found {
			return "", true
		}
		return surrogateText(surrogate), true
	}
}

// aboutPerson is which captured rows are about a person: those of the tables of
// persons under the person's id, and those that name the person besides. A row
// without a tenant may be of any.
type aboutPerson struct {
	personID
	kinds []string
}

// about is nil where no captured row can be about a person.
func (t *Trail) about(tenant, person string) *aboutPerson {
	if len(t.config.Captured) == 0 {
		return nil
	}
	return &aboutPerson{personID{tenant, person}, t.config.PersonKinds}
}

func (a *aboutPerson) where() string {
	return `COALESCE(tenant, '') IN (?, '') AND (person IN (?, ?) OR key IN (?, ?) AND kind IN (` + sqldb.Marks(len(a.kinds)) + `))`
}

// args name the person with and without the blanks that pad a char(n), of which a
// captured row has none.
func (a *aboutPerson) args() []any {
	person := strings.TrimRight(a.person, " ")
	out := []any{a.tenant, a.person, person, a.person, person}
	for _, kind := range a.kinds {
		out = append(out, kind)
	}
	return out
}

// capturedAbout counts the captured rows that wait and are about a person.
func (t *Trail) capturedAbout(ctx context.Context, tenant, person string) (n int, err error) {
	a := t.about(tenant, person)
	if a == nil {
		return 0, nil
	}
	if can, err := t.captures(ctx, t.db); err != nil || !can {
		return 0, err
	}
	_, err = t.one(ctx, t.db, []any{&n}, `SELECT COUNT(*) FROM crmguard_audit_captured WHERE `+a.where(), a.args()...)
	return n, err
}

// fileCapturedAbout files what is captured about a person, so that no row holds
// the person's id any more: after an erasure without an object. What goes on
// waiting (an event of its transaction does) is ErrWaiting.
func (t *Trail) fileCapturedAbout(ctx context.Context, tenant, person string) error {
	for {
		n, err := t.capturedAbout(ctx, tenant, person)
		if err != nil || n == 0 {
			return err
		}
		v, err := t.look(ctx, false)
		if err != nil {
			return err
		}
		var r Result
		gone, err := t.fileCaptured(ctx, v.head, t.about(tenant, person), &r)
		if err = cmp.Or(err, ctx.Err()); err != nil {
			return err
		}
		if gone == 0 {
			return ErrWaiting
		}
	}
}
