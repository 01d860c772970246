package roles

import (
	"context"
	"database/sql"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/crmguard/crmguard/accesscontrol"
	"github.com/crmguard/crmguard/internal/health"
	"github.com/crmguard/crmguard/internal/sqldb"
)

// expiredFor is how long an assignment may be over before Status says so.
const expiredFor = 90 * 24 * time.Hour

// Status says how the roles are: every finding of the package comment, those that
// are well included. It reads all assignments of all tenants, in pages, and
// verifies each: on a million rows that takes seconds, with the keys of a remote
// vault longer. The error says that the database cannot be read.
func (s *Store) Status(ctx context.Context) ([]accesscontrol.Finding, error) {
	var changes, changed int64
	if err := sqldb.One(ctx, s.db, []any{&changes, &changed}, `SELECT COALESCE(SUM(changes), 0), COALESCE(MAX(changed), 0) FROM crmguard_accesscontrol_tenant`); err != nil {
		return nil, err
	}
	history := s.past.finding(changes, timeOf(changed, 0))
	if history.Level != health.OK {
		s.cache.forgetAll()
	}
	r := &review{Store: s}
	for tenant := ""; ; {
		var err error
		if tenant, err = s.tenantBehind(ctx, tenant); err != nil {
			return nil, err
		}
		if tenant == "" {
			break
		}
		if err := r.tenant(ctx, tenant); err != nil {
			return nil, err
		}
	}
	settings, err := s.db.Health(ctx, "accesscontrol.roles")
	if err != nil {
		return nil, err
	}
	return append(append(r.findings(), history), settings...), nil
}

// past is how far the changes had come that Status has seen.
type past struct {
	mu      sync.Mutex
	changes int64
	back    time.Time // when they were found to be fewer
}

// finding compares what is counted with what was. Counts only rise, so where they
// are fewer, the tables are those of an earlier day; that stays said, since the
// changes that follow hide it.
func (p *past) finding(changes int64, last time.Time) accesscontrol.Finding {
	p.mu.Lock()
	defer p.mu.Unlock()
	if changes < p.changes && p.back.IsZero() {
		p.back = time.Now()
	}
	p.changes = max(p.changes, changes)
	f := accesscontrol.Finding{Name: "accesscontrol.roles.changes", Value: float64(changes), Unit: "changes", Since: last}
	if !p.back.IsZero() {
		f.Level, f.Since = health.Alarm, p.back
		f.Remedy = "the tables were put back to an older state, and what was taken away since is held again: go through the audit trail of assignments, revoke, and open the store anew"
	}
	return f
}

// review is what Status finds in the tables.
type review struct {
	*Store
	held                                        float64
	forged, undefined, baseless, conflicts, old tally
	keys                                        error // of a tagger that does not answer
}

// tally counts what is not well by subjects, those that come first.
type tally struct {
	sum float64
	by  map[string]float64
}

const maxTallied = 1000

func (t *tally) add(subject string) {
	t.sum++
	if t.by == nil {
		t.by = map[string]float64{}
	}
	if _, known := t.by[subject]; known || len(t.by) < maxTallied {
		t.by[subject]++
	}
}

func (t *tally) findings(name, unit string, level health.Level, remedy string) []health.Finding {
	var each []health.Finding
	for subject, n := range t.by {
		each = append(each, health.Finding{Name: name, Subject: subject, Level: level, Value: n, Unit: unit, Remedy: remedy})
	}
	return health.Tally(health.Finding{Name: name, Value: t.sum, Unit: unit}, each)
}

// genuine is whether a row, or a role, is well; keys that do not answer are asked
// once.
func (r *review) genuine(ctx context.Context, tenant string, check func() error) (bool, error) {
	if r.keys != nil {
		return true, nil
	}
	err := check()
	switch {
	case err == nil:
		return true, nil
	case errors.Is(err, ErrForged):
		r.forged.add(tenant)
		return false, nil
	case ctx.Err() != nil:
		return false, err
	}
	r.keys = err
	return true, nil
}

func (r *review) tenant(ctx context.Context, tenant string) error {
	stand, err := r.standing(ctx, r.db, tenant)
	if err != nil {
		return err
	}
	all := parentsOf(stand)
	for role, d := range stand {
		if _, err := r.genuine(ctx, tenant, func() error {
			return r.verify(ctx, tenant, framedRole(tenant, role, d.by, d.parents), d.tag)
		}); err != nil {
			return err
		}
		for _, parent := range d.parents {
			if _, known := r.set.lineage(parent, all); !known {
				r.undefined.add(parent)
			}
		}
	}
	for after := ""; ; {
		var p page
		err := r.db.Snapshot(ctx, func(tx *sql.Tx) (err error) { // what a change touches is seen whole
			p, err = r.next(ctx, tx, tenant, after)
			return err
		})
		if err != nil || len(p.rows) == 0 {
			return err
		}
		after = p.rows[len(p.rows)-1].Principal
		for own := range people(p.rows) {
			if err := r.person(ctx, tenant, own, &p); err != nil {
				return err
			}
		}
	}
}

// page is some principals, and what their assignments rest on.
type page struct {
	rows   []row
	now    int64
	all    definitions
	givers map[string]row // by id
}

func (r *review) next(ctx context.Context, tx *sql.Tx, tenant, after string) (p page, err error) {
	if p.rows, p.now, err = r.page(ctx, tx, tenant, after); err != nil {
		return p, err
	}
	stand, err := r.standing(ctx, tx, tenant)
	if err != nil {
		return p, err
	}
	p.all = parentsOf(stand)
	p.givers, err = r.givers(ctx, tx, tenant, p.rows)
	return p, err
}

func parentsOf(stand map[string]defined) definitions {
	out := definitions{}
	for role, d := range stand {
		out[role] = d.parents
	}
	return out
}

// person looks at all that one principal was given.
func (r *review) person(ctx context.Context, tenant string, rows []row, p *page) error {
	var together []string
	for i := range rows {
		a := &rows[i]
		well, err := r.genuine(ctx, tenant, func() error { return r.Store.genuine(ctx, a) })
		if err != nil {
			return err
		}
		if a.until <= p.now {
			if a.until < p.now-expiredFor.Microseconds() {
				r.old.add(tenant)
			}
			continue
		}
		includes, known := r.set.lineage(a.Role, p.all)
		switch {
		case !well: // counted, and it stops every answer about this principal
		case !known:
			r.undefined.add(a.Role)
		default:
			if a.valid(p.now) {
				r.held++
			}
			if !r.based(a, p) {
				r.baseless.add(tenant)
			}
		}
		together = append(together, includes...)
	}
	if _, _, both := r.set.conflict(together); both {
		r.conflicts.add(tenant)
	}
	return nil
}

// givers are the assignments that those of a page rest on, by id.
func (r *review) givers(ctx context.Context, tx *sql.Tx, tenant string, rows []row) (map[string]row, error) {
	out, args := map[string]row{}, []any{}
	for i := range rows {
		if _, known := out[rows[i].source]; !known && rows[i].source != "" {
			out[rows[i].source] = row{}
			args = append(args, rows[i].source)
		}
	}
	for len(args) > 0 {
		n := min(len(args), pageRows)
		found, _, err := r.unverified(ctx, tx, tenant, `id IN (`+sqldb.Marks(n)+`)`, args[:n]...)
		if err != nil {
			return nil, err
		}
		for _, giver := range found {
			out[giver.id] = giver
		}
		args = args[n:]
	}
	return out, nil
}

// based says whether who gave an assignment still holds what it rests on. What
// stands below a unit is not asked for.
func (r *review) based(a *row, p *page) bool {
	if a.source == "" {
		return a.By == Operator
	}
	giver := p.givers[a.source]
	includes, _ := r.set.lineage(giver.Role, p.all)
	return giver.Principal == a.By && giver.MayGive && giver.until >= a.until && slices.Contains(includes, a.Role)
}

func (r *review) findings() []accesscontrol.Finding {
	out := []accesscontrol.Finding{{Name: "accesscontrol.roles.held", Value: r.held, Unit: "assignments"}}
	forged := r.forged.findings("accesscontrol.roles.forged", "rows", health.Alarm,
		"somebody writes into the tables past this package, or under other keys; about those principals nothing is answered: compare with the audit trail of assignments, and remove the rows")
	switch {
	case r.tagger == nil:
		forged[0].Level, forged[0].Remedy = max(forged[0].Level, health.Notice), "whoever can write into the tables can give themselves any role, and nothing would tell: set Options.Tagger"
	case r.keys != nil:
		forged[0].Level, forged[0].Remedy = health.Alarm, "the keys cannot be had just now, so not every row was verified: look after the vault"
	}
	out = append(out, forged...)
	out = append(out, r.undefined.findings("accesscontrol.roles.undefined", "assignments", health.Alarm,
		"such a role gives nothing, and a new one of that name gives its rights to whoever holds this one: define it, or revoke it")...)
	out = append(out, r.conflicts.findings("accesscontrol.roles.conflicts", "principals", health.Alarm,
		"they hold roles that exclude each other, given before the model said so: see Store.Conflicts, and revoke one of them")...)
	out = append(out, r.baseless.findings("accesscontrol.roles.baseless", "assignments", health.Notice,
		"who gave them no longer holds what they gave, since the model changed or a row was removed past this package: look through them, and give or revoke them anew")...)
	return append(out, r.old.findings("accesscontrol.roles.expired", "assignments", health.Notice,
		"over for more than 90 days, and data about persons: call Store.Prune")...)
}
