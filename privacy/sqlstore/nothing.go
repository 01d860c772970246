package sqlstore

import (
	"context"
	"slices"
	"strings"

	"github.com/crmguard/crmguard/internal/sqldb"
	"github.com/crmguard/crmguard/privacy/datastore"
)

// Behind an erasure a search finds nothing, as a rule: then one statement says so
// instead of one a table. It asks what the search would ask first; as long as no
// table has a row for that, nothing leads any further. It asks roughly: also for
// what the database takes for equal and bytes do not, since the search follows
// wherever there is anything.

// mostValues is how many values such a statement compares with at most. Of more
// rows a search costs little beside what they have cost.
const mostValues = 2000

// nothing reports that a search of the seekers, and of what names one of the rows
// that are gone, would find no row at all; false is no answer.
func (s *Store) nothing(ctx context.Context, q sqldb.Querier, seekers []seeker, gone []*located, more ...existing) (bool, error) {
	tenant := seekers[0].Tenant
	if slices.ContainsFunc(seekers, func(k seeker) bool { return k.Tenant != tenant }) {
		return false, nil
	}
	f := s.rough().finding(q, tenant, seekers, s.preparing())
	for _, l := range gone {
		if err := f.gives(l, l.scope, true); err != nil {
			return false, err
		}
	}
	all, err := f.first()
	if err != nil {
		return false, err
	}
	var parts []string
	var args []any
	for _, one := range append(all, more...) {
		parts, args = append(parts, "EXISTS (SELECT 1 FROM "+one.from+" WHERE "+one.where.String()+")"), append(args, one.where.args...)
	}
	if len(args) > mostValues || len(parts) == 0 {
		return false, nil
	}
	var found int
	err = sqldb.One(ctx, q, []any{&found}, s.db.Bind("SELECT CASE WHEN "+strings.Join(parts, " OR ")+" THEN 1 ELSE 0 END"), args...)
	return found == 0, dbError("find", "(all)", err)
}

// rough is the store, whose questions may find more than is meant.
func (s *Store) rough() *Store {
	rough := *s
	rough.roughly = true
	return &rough
}

// existing asks whether there is a row.
type existing struct {
	from  string
	where condition
}

// first is what a search asks as long as it has found nothing.
func (f *finding) first() (all []existing, err error) {
	add := func(e *entity, questions []condition) {
		for _, c := range questions {
			all = append(all, existing{f.s.from(e), c})
		}
	}
	for _, e := range f.s.entities {
		questions, err := f.questions(e)
		if err != nil {
			return nil, err
		}
		add(e, questions)
	}
	targets, err := f.targets()
	if err != nil {
		return nil, err
	}
	for _, e := range f.s.entities {
		for i := range e.cuts {
			questions, err := f.pointers(e, &e.cuts[i], targets[e.cuts[i].source])
			if err != nil {
				return nil, err
			}
			add(e, questions)
		}
	}
	return all, nil
}

// nothingLeft reports that nothing is found, nor stands any row that was deleted;
// false is no answer.
func (s *Store) nothingLeft(ctx context.Context, k seeker, deleted []datastore.Row) (bool, error) {
	if len(deleted) > batch || slices.ContainsFunc(deleted, func(r datastore.Row) bool { return r.Class != datastore.Deleted }) {
		return false, nil
	}
	var standing []existing
	for _, e := range s.entities {
		questions, err := s.rough().keyed(e, k.Scope, deleted)
		if err != nil {
			return false, err
		}
		for _, c := range questions {
			standing = append(standing, existing{s.table(e.Name) + " t0", c})
		}
	}
	return s.nothing(ctx, s.db, []seeker{k}, s.goneOf(deleted, nil), standing...)
}

// alone reports whether nobody else's rows can come while a transaction of
// [Store.write] runs: it has the only writer, or one unchanging view. On MariaDB and
// MySQL a search locks what it finds, and waits for what others are about to commit.
func (s *Store) alone() bool { return s.sqlite() || s.db.Kind == sqldb.Postgres }
