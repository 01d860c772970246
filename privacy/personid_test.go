package privacy_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/privacy"
	"github.com/crmguard/crmguard/privacy/datamap"
)

func personMap() *datamap.Map {
	return &datamap.Map{Tenant: "main", Tables: []datamap.Table{{
		Name: "people", Key: []string{"id"}, Person: "person", Created: "created", Erase: datamap.Delete,
		Columns: []datamap.Column{{Name: "email", Category: "contact.email", Purpose: "dpv:CustomerRelationshipManagement", Basis: "dpv:Contract"}},
	}}}
}

// Whatever type the person column has: who was erased is erased again after a
// restore, the look-alike beside them stays, and before that the gate is shut.
// An id in another spelling than the database's finds nobody, so that nobody
// is erased under a name that a replay could not find.
func TestPersonsAsTheDatabaseHoldsThem(t *testing.T) {
	for _, c := range []struct {
		column        string
		stored, other any
		id            string
		alike         []string
	}{
		{"INTEGER", int64(17), int64(18), "17", []string{"017", "17.0", "1.7e1", " 17", "+17"}},
		{"INTEGER", int64(-3), int64(3), "-3", []string{"-03", "-3.0"}},
		{"BIGINT", int64(1 << 62), int64(1<<62 + 1), "4611686018427387904", []string{"4.611686018427387904e18"}},
		{"NUMERIC", int64(17), int64(18), "17", []string{"1.7e1"}},
		{"UUID", "0197-x", "0197-y", "0197-x", []string{"0197-X"}},
		{"REAL", 17.0, 18.0, "17.0", []string{"17"}},
		{"TEXT", "p1", "P1", "p1", []string{"p1 ", "p1\u200b"}},
		{"TEXT", "é", "e\u0301", "é", nil},
		{"TEXT COLLATE NOCASE", "p1", "P1", "p1", []string{"p1 "}},
		{"TEXT COLLATE RTRIM", "p1", "p1 ", "p1", []string{"p1  "}},
		{"BLOB", []byte("p1"), []byte("P1"), "p1", []string{"p1 "}},
		{"TEXT", []byte("p1"), "P1", "p1", nil},
		{"", int64(17), "017", "17", []string{"17.0"}},
	} {
		name := fmt.Sprintf("%s %v", c.column, c.stored)
		s := newSystem(t)
		s.exec(`CREATE TABLE people (id INTEGER PRIMARY KEY, person ` + c.column + `, email TEXT, created INTEGER)`)
		s.exec(`CREATE INDEX people_person ON people (person)`)
		s.exec(`INSERT INTO people VALUES (1, ?, 'ann@a.example', ?), (2, ?, 'bob@b.example', ?)`, c.stored, s.now.UnixMicro(), c.other, s.now.UnixMicro())
		s.openWith(personMap())
		backup := s.snapshot()
		for _, alike := range c.alike {
			_, err := s.desk.PlanErasure(t.Context(), privacy.Request{Tenant: "main", Person: alike, Reason: "r", By: "user/1"})
			require.ErrorIs(t, err, privacy.ErrNobody, "%s asked as %q", name, alike)
		}
		s.erase(c.id)
		require.Equal(t, 0, s.count(`SELECT COUNT(*) FROM people WHERE id = 1`), name)
		s.restore(backup)
		s.openWith(personMap())
		require.ErrorIs(t, s.desk.Ready(t.Context()), privacy.ErrBehind, name)
		r, err := s.desk.Replay(t.Context())
		require.NoError(t, err, name)
		require.Equal(t, 1, r.Erased, name)
		require.Equal(t, 2, r.People, name)
		require.NoError(t, s.desk.Ready(t.Context()), name)
		require.Equal(t, 0, s.count(`SELECT COUNT(*) FROM people WHERE id = 1`), name)
		require.Equal(t, 1, s.count(`SELECT COUNT(*) FROM people WHERE id = 2`), name)
	}
}

// One id may stand in rows of several types, and all of them go.
func TestOnePersonInSeveralTypes(t *testing.T) {
	s := newSystem(t)
	s.exec(`CREATE TABLE people (id INTEGER PRIMARY KEY, person, email TEXT, created INTEGER)`)
	s.exec(`CREATE INDEX people_person ON people (person)`)
	s.exec(`INSERT INTO people VALUES (1, 17, 'a', 0), (2, '17', 'b', 0), (3, x'3137', 'c', 0), (4, 17.0, 'd', 0), (5, NULL, 'e', 0), (6, x'ff00', 'f', 0)`)
	s.openWith(personMap())
	backup := s.snapshot()
	s.erase("17")
	require.Equal(t, 3, s.count(`SELECT COUNT(*) FROM people`), "17.0 is another spelling; NULL and other bytes are nobody's")
	s.restore(backup)
	s.openWith(personMap())
	r, err := s.desk.Replay(t.Context())
	require.NoError(t, err)
	require.Equal(t, 1, r.Erased)
	require.Equal(t, 3, s.count(`SELECT COUNT(*) FROM people`))
}

// Tenants are told apart in the same way, and a row without tenant is nobody's
// and holds nothing up.
func TestTenantsAsTheDatabaseHoldsThem(t *testing.T) {
	m := personMap()
	m.Tenant, m.Tables[0].Tenant = "", "tenant"
	s := newSystem(t)
	s.exec(`CREATE TABLE people (id INTEGER PRIMARY KEY, tenant, person TEXT, email TEXT, created INTEGER)`)
	s.exec(`CREATE INDEX people_person ON people (person)`)
	s.exec(`INSERT INTO people VALUES (1, 5, 'p1', 'a', 0), (2, '05', 'p1', 'b', 0), (3, NULL, 'p1', 'c', 0)`)
	s.openWith(m)
	backup := s.snapshot()
	plan, err := s.desk.PlanErasure(t.Context(), privacy.Request{Tenant: "5", Person: "p1", Reason: "r", By: "user/1"})
	require.NoError(t, err)
	require.NoError(t, s.desk.Approve(t.Context(), plan.ID, "user/2"))
	s.cfg.Delay, s.cfg.Lease = -1, -1
	s.reopen()
	s.now = plan.NotBefore
	o, err := s.desk.Execute(t.Context(), plan.ID)
	require.NoError(t, err)
	require.Equal(t, privacy.Done, o.State)
	s.restore(backup)
	s.openWith(m)
	r, err := s.desk.Replay(t.Context())
	require.NoError(t, err)
	require.Equal(t, 1, r.Erased)
	require.Equal(t, 1, s.count(`SELECT COUNT(*) FROM people WHERE id = 2`))
	require.Equal(t, 2, s.count(`SELECT COUNT(*) FROM people`))
}
