package roles

import (
	"context"
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
	seen := s.past.seen()
	if err := sqldb.One(ctx, s.db, []any{&changes, &changed}, `SELECT COALESCE(SUM(changes), 0), COALESCE(MAX(changed), 0) FROM crmguard_accesscontrol_tenant`); err != nil {
		return nil, err
	}
	history := s.past.finding(seen, changes, timeOf(changed, 0))
	if history.Level != health.OK {
		s.cache.forgetAll()
	}
	moment, err := s.clockFinding(ctx, changed)
	if err != nil {
		return nil, err
	}
	r := &review{Store: s}
	for tenant := ""; ; {
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
	return append(append(r.findings(), history, moment), settings...), nil
}

// review is what Status finds in the tables.
type review struct {
	*Store
	held                                                  float64
	forged, undefined, shadowed, baseless, conflicts, old tally
	keys                                                  error // of a tagger that does not answer
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
	out = append(out, r.shadowed.findings("accesscontrol.roles.shadowed", "roles", health.Alarm,
		"a tenant has put together a role that the model has under the same name by now: whoever holds it has what the model says; rename the one of the model, or revoke it")...)
	out = append(out, r.conflicts.findings("accesscontrol.roles.conflicts", "principals", health.Alarm,
		"they hold roles that exclude each other, given before the model said so: see Store.Conflicts, and revoke one of them")...)
	out = append(out, r.baseless.findings("accesscontrol.roles.baseless", "assignments", health.Notice,
		"who gave them no longer holds what they gave, since the model changed or a row was removed past this package: look through them, and give or revoke them anew")...)
	return append(out, r.old.findings("accesscontrol.roles.expired", "assignments", health.Notice,
		"over for more than 90 days, and data about persons: call Store.Prune")...)
}
