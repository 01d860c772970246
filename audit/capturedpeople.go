package audit

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"github.com/crmguard/crmguard/audit/capture"
	"github.com/crmguard/crmguard/internal/sqldb"
)

// The key of a row of a table of persons is a person's id. It never enters the
// log: a surrogate does, if the trail has drawn one.

// personID is a person of a tenant.
type personID struct{ tenant, person string }

// capturedPeople are the surrogates of the persons that captured rows name.
func (t *Trail) capturedPeople(ctx context.Context, q sqldb.Querier, rows []capture.Row) (map[personID][16]byte, error) {
	by := make(map[string][]any) // persons by tenant
	seen := make(map[personID]bool)
	for i := range rows {
		p := personID{rows[i].Tenant, rows[i].Key}
		if p.tenant != "" && p.person != "" && t.isPersonKind(rows[i].Kind) && !seen[p] {
			seen[p] = true
			by[p.tenant] = append(by[p.tenant], p.person)
		}
	}
	out := make(map[personID][16]byte)
	for tenant, all := range by {
		for part := range slices.Chunk(all, rowsAStatement) {
			err := t.query(ctx, q, func(found answer) error {
				var person string
				var surrogate []byte
				if err := found.Scan(&person, &surrogate); err != nil {
					return err
				}
				if len(surrogate) == 16 {
					out[personID{tenant, person}] = [16]byte(surrogate)
				}
				return nil
			}, `SELECT person, `+upTo(mostID, "surrogate")+` FROM crmguard_audit_surrogates WHERE tenant = ? AND state = 0 AND person IN (`+sqldb.Marks(len(part))+`)`, append([]any{tenant}, part...)...)
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
// persons under the person's id.
type aboutPerson struct {
	personID
	kinds []string
}

// about is nil where no captured row can be about a person.
func (t *Trail) about(tenant, person string) *aboutPerson {
	if len(t.config.Captured) == 0 || len(t.config.PersonKinds) == 0 {
		return nil
	}
	return &aboutPerson{personID{tenant, person}, t.config.PersonKinds}
}

func (a *aboutPerson) where() string {
	return `tenant = ? AND key = ? AND kind IN (` + strings.TrimSuffix(strings.Repeat("?, ", len(a.kinds)), ", ") + `)`
}

func (a *aboutPerson) args() []any {
	out := []any{a.tenant, a.person}
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
