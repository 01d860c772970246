package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/crmguard/crmguard/internal/sqldb"
	"github.com/crmguard/crmguard/internal/value"
	"github.com/crmguard/crmguard/privacy/datamap"
	"github.com/crmguard/crmguard/privacy/datastore"
)

// How far identities are followed: those of rows that other identities led to
// count, too.
const (
	maxRounds     = 4
	maxIdentities = 100
)

// SharedIdentityError says that an identity of the person is another person's,
// too: whose the rows are that only it leads to, nobody can tell. Permanent:
// correct the data, or say Config.LeaveShared.
type SharedIdentityError struct {
	Kind  string // of the identity
	Table string // in which another person has it
}

// Error names kind and table.
func (e *SharedIdentityError) Error() string {
	return fmt.Sprintf("sqlstore: an identity (%s) of the person is that of another person in table %s, too: nothing is found by it", e.Kind, e.Table)
}

// Is makes errors.Is(err, datastore.ErrShared) true.
func (e *SharedIdentityError) Is(target error) bool { return target == datastore.ErrShared }

// TooManyError says that identities, or merged persons, lead further and further:
// rather a fault in the data than one person. Permanent.
type TooManyError struct {
	What  string // identities, or merged persons
	Limit int
}

// Error names the bound.
func (e *TooManyError) Error() string {
	return fmt.Sprintf("sqlstore: more than %d %s belong to one person: rather a fault in the data", e.Limit, e.What)
}

// Identities are what the person is known by, by kind, in their own rows and in
// those that other identities lead to: for stores that have no other way to the
// person, asked before anything is erased. Empty where the map declares none. With an
// error that wraps datastore.ErrShredded come those that can still be opened.
func (s *Store) Identities(ctx context.Context, scope datastore.Scope) (map[string][]string, error) {
	if !slices.ContainsFunc(s.entities, func(e *entity) bool {
		return slices.ContainsFunc(e.Columns, func(c datamap.Column) bool { return c.Identity != "" })
	}) {
		return map[string][]string{}, nil
	}
	known, err := s.identitiesOf(ctx, scope)
	if err == nil && known.shredded {
		err = fmt.Errorf("sqlstore: an identity of the person cannot be opened any more, nothing is found by it: %w", datastore.ErrShredded)
	}
	return known.Identities, err
}

// resolve gives each scope its identities, where rows are found by them and the
// scope has none yet.
func (s *Store) resolve(ctx context.Context, scopes []datastore.Scope) ([]seeker, error) {
	seekers := make([]seeker, len(scopes))
	for i, scope := range scopes {
		seekers[i] = seeker{Scope: scope}
		if !s.knows {
			continue
		}
		var err error
		if scope.Identities != nil {
			err = s.search(ctx, &seekers[i])
		} else {
			seekers[i], err = s.identitiesOf(ctx, scope)
		}
		if err != nil {
			return nil, err
		}
	}
	return seekers, nil
}

func (s *Store) identitiesOf(ctx context.Context, scope datastore.Scope) (seeker, error) {
	k := seeker{Scope: scope}
	k.Identities = map[string][]string{}
	aliases, err := s.Aliases(ctx, scope.Tenant, scope.Person)
	if err != nil {
		return k, err
	}
	shared := map[string]bool{}
	for round, n := 0, 0; ; round++ {
		seekers := []seeker{k}
		for _, alias := range aliases {
			other := scope
			other.Person, other.Identities = alias, nil
			seekers = append(seekers, seeker{Scope: other})
		}
		found, err := s.find(ctx, s.db, seekers, s.listing(), nil)
		if err != nil {
			return k, err
		}
		fresh, err := s.newIdentities(ctx, &k, found, shared)
		if err != nil {
			return k, err
		}
		if len(fresh) == 0 {
			return k, nil
		}
		for kind, values := range fresh {
			k.Identities[kind] = append(k.Identities[kind], values...)
			n += len(values)
		}
		if round == maxRounds || n > maxIdentities {
			return k, &TooManyError{"identities", maxIdentities}
		}
		if err := s.search(ctx, &k); err != nil {
			return k, err
		}
	}
}

// newIdentities are those of the rows that the seeker does not know yet, and that
// nobody else has. One whose key was destroyed leads nowhere.
func (s *Store) newIdentities(ctx context.Context, k *seeker, found []*located, shared map[string]bool) (map[string][]string, error) {
	fresh := map[string][]string{}
	for _, l := range found {
		if l.cut != nil || l.others || l.scope != 0 {
			continue
		}
		for _, c := range l.e.Columns {
			if c.Identity == "" {
				continue
			}
			text, err := s.identity(ctx, k.Scope, l, c)
			if c.Sealed && errors.Is(err, datastore.ErrShredded) {
				k.shredded, err = true, nil
			}
			if err != nil {
				return nil, dbError("find", l.e.Name, err)
			}
			if strings.TrimSpace(text) == "" || s.isErased(k.Tenant, l, c, text) || shared[c.Identity+"\x00"+text] || slices.Contains(k.Identities[c.Identity], text) || slices.Contains(fresh[c.Identity], text) {
				continue
			}
			elsewhere, err := s.elsewhere(ctx, k.Scope, c.Identity, text, found)
			if err != nil {
				return nil, err
			}
			switch {
			case elsewhere == "":
				fresh[c.Identity] = append(fresh[c.Identity], text)
			case s.cfg.LeaveShared:
				shared[c.Identity+"\x00"+text] = true
			default:
				return nil, &SharedIdentityError{c.Identity, elsewhere}
			}
		}
	}
	return fresh, nil
}

// isErased reports whether a value is what an erasure has put in place of an
// identity of the kind, in this row or, as far as it is the same in all, in
// another: it leads to nobody. An obligation that is over may have done it.
func (s *Store) isErased(tenant string, l *located, c datamap.Column, text string) bool {
	if l.e.does(c, datamap.Redact) && text == strings.ReplaceAll(redacted(c), datamap.RowMark, rowCode(tenant, l.e.Name, c.Where(), l.name())) {
		return true
	}
	for _, e := range s.entities {
		for _, other := range e.Columns {
			held := other.Identity == c.Identity || slices.ContainsFunc(e.Edges, func(w datamap.Edge) bool {
				return w.Identity == c.Identity && w.Columns[0] == other.Name
			})
			if held && (e.does(other, datamap.Pseudonymise) && isCode(text, other.To) || e.does(other, datamap.Redact) && text == redacted(other)) {
				return true
			}
		}
	}
	return false
}

// does reports whether the action may be done to a column of rows that stay.
func (e *entity) does(c datamap.Column, action datamap.Action) bool {
	does, may := e.Stays()[c.Where()]
	return may && (does == action || does == datamap.Retain && e.Erase == action)
}

func (s *Store) identity(ctx context.Context, scope datastore.Scope, l *located, c datamap.Column) (string, error) {
	stored, _ := l.get(asIs(c.Name))
	v, err := value.Scanned(stored)
	if err != nil || v.IsNull() {
		return "", err
	}
	if !c.Sealed {
		return textOf(stored)
	}
	sealed, err := v.Bytes()
	if err != nil {
		return "", err
	}
	opened, err := s.cfg.Open(ctx, scope.Tenant, scope.Person, l.e.Name, c.Name, l.name(), sealed)
	if err != nil {
		return "", err
	}
	return textOf(opened)
}

// elsewhere is a table that declares the identity and has it in a row which is not
// among those found; "" where there is none. Rows of nobody do not count, nor do
// those that the identity itself leads to.
func (s *Store) elsewhere(ctx context.Context, scope datastore.Scope, kind, text string, found []*located) (table string, err error) {
	own := map[rowID]bool{}
	for _, l := range found {
		own[l.id()] = own[l.id()] || l.cut == nil // not of somebody who only names the person
	}
	for _, e := range s.entities {
		for _, c := range e.Columns {
			leads := slices.ContainsFunc(e.ways, func(w way) bool { return w.Identity == kind && w.Columns[0] == c.Name })
			if c.Identity != kind || leads {
				continue
			}
			keys, err := s.holders(ctx, scope, e, c, kind, text)
			if err != nil {
				return "", err
			}
			for _, key := range keys {
				if !own[rowID{e.Name, key}] {
					return e.Name, nil
				}
			}
		}
	}
	return "", nil
}

// holders are the keys of the rows of a table that hold an identity.
func (s *Store) holders(ctx context.Context, scope datastore.Scope, e *entity, c datamap.Column, kind, text string) (keys []string, err error) {
	if c.Sealed {
		if s.cfg.Search == nil {
			return nil, nil
		}
		keys, err = s.cfg.Search(ctx, scope.Tenant, e.Name, c.Name, []string{text})
		return keys, dbError("find", e.Name, err)
	}
	var where condition
	s.known(&where, s.at("t0", e.Name, c.Name), kind, []string{text})
	if e.Tenant != "" {
		s.is(&where, s.at("t0", e.Name, e.Tenant), scope.Tenant)
	}
	if e.Person != "" {
		where.add(s.at("t0", e.Name, e.Person).name + " IS NOT NULL")
	}
	rows, err := s.ask(ctx, s.db, s.bare(e.Name), where)
	for _, l := range rows {
		keys = append(keys, l.name())
	}
	return keys, err
}

// search asks the application for the rows whose sealed columns hold one of the
// identities.
func (s *Store) search(ctx context.Context, k *seeker) error {
	k.searched = map[*way][]string{}
	for _, e := range s.entities {
		for _, w := range e.sealed() {
			if !w.sealed || len(k.Identities[w.Identity]) == 0 {
				continue
			}
			keys, err := s.cfg.Search(ctx, k.Tenant, e.Name, w.Columns[0], k.Identities[w.Identity])
			if err != nil {
				return dbError("find", e.Name, err)
			}
			k.searched[w] = keys
		}
	}
	return nil
}

// Aliases are the other ids of the person: of persons who were merged into them,
// and of whom they were merged into, as Table.Merged says, however often, as far as
// they have a row there: another value stands for nobody. Sorted.
func (s *Store) Aliases(ctx context.Context, tenant, person string) ([]string, error) {
	all, fresh := map[string]bool{person: true}, []string{person}
	for len(fresh) > 0 {
		found, err := s.merged(ctx, tenant, fresh)
		if err != nil {
			return nil, err
		}
		fresh = nil
		for _, id := range found {
			if id != "" && !all[id] {
				all[id], fresh = true, append(fresh, id)
			}
		}
		if len(all) > maxIdentities {
			return nil, &TooManyError{"merged persons", maxIdentities}
		}
	}
	delete(all, person)
	return slices.Sorted(maps.Keys(all)), nil
}

func (s *Store) merged(ctx context.Context, tenant string, persons []string) (found []string, err error) {
	for _, e := range s.entities {
		if e.Merged == "" || e.Person == "" || e.Tenant == "" && s.cfg.Map.Tenant != tenant {
			continue
		}
		of, into := s.at("t0", e.Name, e.Person), s.at("t0", e.Name, e.Merged)
		var a, b condition
		s.among(&a, of, persons)
		s.among(&b, into, persons)
		c := either(a, b)
		if e.Tenant != "" {
			s.is(&c, s.at("t0", e.Name, e.Tenant), tenant)
		}
		var targets []string
		query := fmt.Sprintf("SELECT %s, %s FROM %s t0 WHERE %s", of.text(), into.text(), s.table(e.Name), c)
		err = sqldb.Each(ctx, s.db, func(rows *sql.Rows) error {
			var ids [2]any
			if err := rows.Scan(&ids[0], &ids[1]); err != nil {
				return err
			}
			person, err := of.spelled(ids[0])
			if err != nil {
				return err
			}
			other, err := into.spelled(ids[1])
			found, targets = append(found, person), append(targets, other)
			return err
		}, s.db.Bind(query), c.args...)
		if err != nil {
			return nil, dbError("find", e.Name, err)
		}
		there, err := s.present(ctx, e, tenant, targets)
		if err != nil {
			return nil, err
		}
		found = append(found, there...)
	}
	return found, nil
}

// present are those of the ids of which the table has a row: another one is a
// stand-in for nobody, such as 0.
func (s *Store) present(ctx context.Context, e *entity, tenant string, ids []string) ([]string, error) {
	ids = slices.DeleteFunc(slices.Compact(slices.Sorted(slices.Values(ids))), func(id string) bool { return id == "" })
	var there []string
	for chunk := range slices.Chunk(ids, batch) {
		of := s.at("t0", e.Name, e.Person)
		var c condition
		s.among(&c, of, chunk)
		if e.Tenant != "" {
			s.is(&c, s.at("t0", e.Name, e.Tenant), tenant)
		}
		err := sqldb.Each(ctx, s.db, func(rows *sql.Rows) error {
			var id any
			if err := rows.Scan(&id); err != nil {
				return err
			}
			text, err := of.spelled(id)
			there = append(there, text)
			return err
		}, s.db.Bind(fmt.Sprintf("SELECT %s FROM %s t0 WHERE %s", of.text(), s.table(e.Name), c)), c.args...)
		if err != nil {
			return nil, dbError("find", e.Name, err)
		}
	}
	return there, nil
}
