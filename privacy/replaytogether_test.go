package privacy_test

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/internal/sqldb"
	"github.com/crmguard/crmguard/privacy"
	"github.com/crmguard/crmguard/privacy/datamap"
	"github.com/crmguard/crmguard/privacy/datastore"
)

// An undated row of two persons, who were erased one after the other, comes back:
// it goes with the one whose intent names it, and nobody has to decide about it for
// the other, who never met it.
func TestReplayOfARowOfTwoErasedPersons(t *testing.T) {
	eachSystem(t, func(t *testing.T, s *system) {
		s.exec(`CREATE TABLE pairs (id INTEGER PRIMARY KEY, person VARCHAR(64), other VARCHAR(64))`)
		s.exec(`CREATE INDEX pairs_person ON pairs (person)`)
		s.exec(`CREATE INDEX pairs_other ON pairs (other)`)
		m := dataMap()
		m.Tables = append(m.Tables, datamap.Table{
			Name: "pairs", Key: []string{"id"}, Person: "person", Erase: datamap.Delete, Edges: []datamap.Edge{{Columns: []string{"other"}}},
		})
		s.openWith(m)
		s.cfg.Delay, s.cfg.Lease, s.cfg.PerDay = -1, -1, -1
		s.reopen()
		fill := func() {
			s.exec(`INSERT INTO pairs VALUES (1, 'lead-one', 'lead-two'), (2, 'lead-two', 'lead-three'), (3, 'lead-three', NULL)`)
		}
		fill()
		for _, person := range []string{"lead-one", "lead-two"} {
			(&leads{system: s}).erases(person)
		}
		require.Equal(t, 1, s.count(`SELECT COUNT(*) FROM pairs`))
		s.exec(`DELETE FROM pairs`)
		fill()
		r, err := s.desk.Replay(t.Context())
		require.NoError(t, err)
		require.Empty(t, r.Undated)
		require.Equal(t, 1, s.count(`SELECT COUNT(*) FROM pairs`))
		require.NoError(t, s.desk.Ready(t.Context()))
	})
}

// A row that is one person's own, and points to the other who is erased with them,
// is in the plan once, as their own.
func TestMergedPersonsWhoNameEachOther(t *testing.T) {
	eachSystem(t, func(t *testing.T, s *system) {
		s.exec(`CREATE TABLE members (id INTEGER PRIMARY KEY, person VARCHAR(64), name VARCHAR(99), chief INTEGER)`)
		s.exec(`CREATE INDEX members_person ON members (person)`)
		s.exec(`CREATE INDEX members_chief ON members (chief)`)
		m := dataMap()
		m.Tables = append(m.Tables, datamap.Table{
			Name: "members", Key: []string{"id"}, Person: "person", Erase: datamap.Null,
			Edges: []datamap.Edge{{Columns: []string{"chief"}, Table: "members", Unlink: datamap.Null}},
			Columns: []datamap.Column{
				{Name: "person", Category: "contact.id", Purpose: "dpv:Marketing", Basis: "dpv:Consent", Erase: datamap.Retain},
				{Name: "name", Category: "contact.name", Purpose: "dpv:Marketing", Basis: "dpv:Consent"},
			},
		})
		s.openWith(m)
		s.cfg.Delay, s.cfg.Lease, s.cfg.PerDay = -1, -1, -1
		s.cfg.Aliases = func(context.Context, string, string) ([]string, error) { return []string{"lead-one", "lead-old"}, nil }
		s.reopen()
		s.exec(`INSERT INTO members VALUES (1, 'lead-one', 'Ann', 2), (2, 'lead-old', 'Ann', 1), (3, 'lead-two', 'Bob', 1)`)
		plan, err := s.desk.PlanErasure(t.Context(), privacy.Request{Tenant: "main", Person: "lead-one", Reason: "gdpr-17", By: "user/1"})
		require.NoError(t, err)
		classes := map[datastore.Class]int{}
		for _, c := range plan.Counts {
			if c.Table == "members" {
				classes[c.Class] += c.Rows
			}
		}
		require.Equal(t, map[datastore.Class]int{datastore.Pseudonymised: 2, datastore.Redacted: 1}, classes)
		require.NoError(t, s.desk.Approve(t.Context(), plan.ID, "user/2"))
		o, err := s.desk.Execute(t.Context(), plan.ID)
		require.NoError(t, err)
		require.Equal(t, privacy.Done, o.State)
		require.Equal(t, 1, s.count(`SELECT COUNT(*) FROM members WHERE name IS NOT NULL`))
		require.Zero(t, s.count(`SELECT COUNT(*) FROM members WHERE chief IS NOT NULL`))
	})
}

// A sealed address whose key the erasure has destroyed comes back with the
// database: it leads nowhere, the replay says so, and erases all the rest.
func TestReplayOfASealedAddressWhoseKeyIsDestroyed(t *testing.T) {
	eachSystem(t, func(t *testing.T, s *system) {
		binary := map[sqldb.Kind]string{sqldb.SQLite: "BLOB", sqldb.Postgres: "bytea", sqldb.MariaDB: "VARBINARY(99)"}[s.on.Kind]
		s.exec(`CREATE TABLE members (id INTEGER PRIMARY KEY, person VARCHAR(64), address ` + binary + `)`)
		s.exec(`CREATE INDEX members_person ON members (person)`)
		m := dataMap()
		m.Tables = append(m.Tables, datamap.Table{
			Name: "members", Key: []string{"id"}, Person: "person", Erase: datamap.Delete,
			Columns: []datamap.Column{{Name: "address", Category: "contact.email", Purpose: "dpv:Marketing", Basis: "dpv:Consent", Identity: "email", Sealed: true}},
		})
		s.openWith(m)
		s.cfg.Delay, s.cfg.Lease, s.cfg.PerDay = -1, -1, -1
		s.reopen()
		address := s.keys.seal(t, "lead-one", "ann@lead.example")
		s.exec(`INSERT INTO members VALUES (1, 'lead-one', ?)`, address)
		(&leads{system: s}).erases("lead-one")
		s.exec(`INSERT INTO members VALUES (1, 'lead-one', ?)`, address)
		r, err := s.desk.Replay(t.Context())
		require.NoError(t, err)
		require.Equal(t, 1, r.Sealed)
		require.Zero(t, s.count(`SELECT COUNT(*) FROM members`))
		require.NoError(t, s.desk.Ready(t.Context()))
	})
}

// opened opens a sealed identity.
func (s *system) opened(_ context.Context, _, owner, _, _, _ string, sealed []byte) (any, error) {
	text, err := s.keys.open(owner, sealed)
	if errors.Is(err, errErased) {
		return nil, datastore.ErrShredded
	}
	return text, err
}
