package privacy_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/privacy"
	"github.com/crmguard/crmguard/privacy/datamap"
	"github.com/crmguard/crmguard/privacy/datastore"
)

// plainMap has contacts that are known by their e-mail address, in the clear.
func plainMap(erase datamap.Action) *datamap.Map {
	return &datamap.Map{Tenant: "main", Tables: []datamap.Table{{
		Name: "people", Key: []string{"id"}, Person: "person", Created: "created", Erase: erase,
		Columns: []datamap.Column{
			{Name: "person", Category: "id", Purpose: "dpv:CustomerRelationshipManagement", Basis: "dpv:Contract", Erase: datamap.Retain},
			{Name: "email", Category: "email", Purpose: "dpv:CustomerRelationshipManagement", Basis: "dpv:Contract", Identity: "email"},
		},
	}}}
}

// plain is a system with that map alone, and a table made by a statement.
func plain(t *testing.T, erase datamap.Action, ddl string) *system {
	s := quick(t)
	s.exec(ddl)
	s.cfg.Map, s.cfg.Database, s.cfg.Stores = plainMap(erase), nil, nil
	if erase == datamap.Delete {
		s.cfg.Map.Tables[0].Columns = s.cfg.Map.Tables[0].Columns[1:]
	}
	s.cfg.Map = s.whole(s.cfg.Map)
	s.reopen()
	return s
}

const peopleTable = `CREATE TABLE people (id TEXT PRIMARY KEY, person TEXT, email TEXT, created INTEGER)`

func (s *system) person(id, email string) {
	s.exec(`INSERT INTO people VALUES (?, ?, ?, ?)`, "k"+id, id, email, s.now.Add(-time.Hour).UnixMicro())
}

// An import asks about an address before it brings somebody back, and a new
// sign-up takes it from the list. The list holds nothing that can be read.
func TestTheSuppressionList(t *testing.T) {
	s := plain(t, datamap.Delete, peopleTable)
	s.person("p1", " Ann@A.example")
	s.person("p2", "bob@b.example")
	ask := func(tenant, value string) bool {
		since, ok, err := s.desk.Suppressed(t.Context(), tenant, "email", value)
		require.NoError(t, err)
		require.Equal(t, ok, !since.IsZero())
		return ok
	}
	require.False(t, ask("main", "ann@a.example"))
	s.done(s.approved("p1").ID)
	require.True(t, ask("main", "ANN@a.example "))
	require.False(t, ask("other", "ann@a.example"))
	require.False(t, ask("main", "bob@b.example"))
	s.roots = append([]root{{99, seqKey(50)}}, s.roots...)
	cfg := s.cfg
	s.open() // under a new root
	cfg.Ledger, s.cfg = s.ledger, cfg
	s.cfg.Ledger = s.ledger
	s.reopen()
	require.True(t, ask("main", "ann@a.example"))
	for _, line := range lines(t, s.ledgerPath()) {
		require.NotContains(t, line, "ann")
	}
	require.NoError(t, s.desk.Unsuppress(t.Context(), "main", "email", "ann@a.example"))
	require.NoError(t, s.desk.Unsuppress(t.Context(), "main", "email", "ann@a.example"))
	require.False(t, ask("main", "ann@a.example"))
	_, _, err := s.desk.Suppressed(t.Context(), "", "email", "x")
	require.ErrorIs(t, err, privacy.ErrID)
}

// A store that knows people by their address only is asked by it when the
// database has forgotten it: the address stands sealed beside the ledger until
// the store has erased, also in the next process.
func TestAStoreIsAskedByWhatThePersonWasKnownBy(t *testing.T) {
	s := plain(t, datamap.Delete, peopleTable)
	list := &mailing{holds: []string{"ann@a.example", "bob@b.example"}, down: true}
	s.cfg.Stores = []datastore.Store{list}
	s.reopen()
	s.person("p1", "ann@a.example")
	p := s.approved("p1")
	require.Len(t, p.Counts, 2)
	o, err := s.desk.Execute(t.Context(), p.ID)
	require.NoError(t, err)
	require.Equal(t, privacy.Partial, o.State)
	require.Equal(t, 0, s.count(`SELECT COUNT(*) FROM people`))
	notes := 0
	for note, err := range s.ledger.Notes(t.Context()) {
		require.NoError(t, err)
		require.Contains(t, string(note.Data), "ann@a.example")
		notes++
	}
	require.Equal(t, 1, notes)
	require.Equal(t, 0, s.count(`SELECT COUNT(*) FROM crmguard_privacy_plan WHERE CAST(body AS TEXT) LIKE '%ann@%' OR CAST(outcome AS TEXT) LIKE '%ann@%'`))
	list.down = false
	s.reopen()
	s.done(p.ID)
	require.Equal(t, []string{"bob@b.example"}, list.holds)
	for note := range s.ledger.Notes(t.Context()) {
		require.Fail(t, "a note is left", note.Name)
	}
}

// mailing is a mailing list that knows addresses.
type mailing struct {
	datastore.Store
	holds []string
	down  bool
}

func (m *mailing) Name() string { return "mailing list" }

func (m *mailing) of(scope datastore.Scope) []string {
	var list []string
	for _, address := range scope.Identities["email"] {
		if slices.Contains(m.holds, address) {
			list = append(list, address)
		}
	}
	return list
}

func (m *mailing) Find(_ context.Context, scope datastore.Scope) ([]datastore.Row, error) {
	if len(m.of(scope)) == 0 {
		return nil, nil
	}
	return []datastore.Row{{Table: "mailing list", Class: datastore.Deleted, Count: len(m.of(scope))}}, nil
}

func (m *mailing) Erase(_ context.Context, scope datastore.Scope, _ []datastore.Row) error {
	if m.down {
		return errBlown
	}
	gone := m.of(scope)
	m.holds = slices.DeleteFunc(m.holds, func(address string) bool { return slices.Contains(gone, address) })
	return nil
}

func (m *mailing) Remaining(_ context.Context, scope datastore.Scope, _ []datastore.Row) (int, error) {
	return len(m.of(scope)), nil
}

// What the schema refuses is an error of the plan, which names table and
// constraint; nothing begins, and the gate stays open.
func TestWhatTheSchemaRefusesIsFoundAtPlanning(t *testing.T) {
	for ddl, erase := range map[string]datamap.Action{
		"TEXT NOT NULL": datamap.Null, "TEXT UNIQUE": datamap.Redact, "TEXT CONSTRAINT mail CHECK (email LIKE '%@%')": datamap.Redact,
	} {
		s := plain(t, erase, `CREATE TABLE people (id TEXT PRIMARY KEY, person TEXT, email `+ddl+`, created INTEGER)`)
		s.person("p1", "ann@a.example")
		s.exec(`INSERT INTO people VALUES ('k2', 'p2', ?, 1)`, map[bool]string{true: datamap.RedactedText, false: "bob@b.example"}[ddl == "TEXT UNIQUE"])
		_, err := s.desk.PlanErasure(t.Context(), privacy.Request{Tenant: "main", Person: "p1", Reason: "r", By: "user/1"})
		var failed *privacy.StoreError
		require.ErrorAs(t, err, &failed, ddl)
		require.Equal(t, "rehearse", failed.Op)
		require.NotContains(t, err.Error(), "ann")
		require.Equal(t, 1, s.count(`SELECT COUNT(*) FROM people WHERE email = 'ann@a.example'`))
		require.Equal(t, 0, s.count(`SELECT COUNT(*) FROM crmguard_privacy_plan`))
		require.NoError(t, s.desk.Ready(t.Context()))
	}
}

// The list outlives the restore of a database in which nobody was on it, and who
// signed up anew is not put back on it.
func TestTheSuppressionListOutlivesARestore(t *testing.T) {
	s := plain(t, datamap.Delete, peopleTable)
	s.person("p1", "ann@a.example")
	s.person("p2", "bob@b.example")
	old := s.snapshot()
	cfg := s.cfg
	s.done(s.approved("p1").ID)
	s.done(s.approved("p2").ID)
	require.NoError(t, s.desk.Unsuppress(t.Context(), "main", "email", "bob@b.example"))
	listed := func(value string) bool {
		_, ok, err := s.desk.Suppressed(t.Context(), "main", "email", value)
		require.NoError(t, err)
		return ok
	}
	s.restore(old)
	cfg.DB, cfg.Ledger = s.db, s.ledger
	s.cfg = cfg
	s.reopen()
	_, err := s.desk.Replay(t.Context())
	require.NoError(t, err)
	require.True(t, listed("Ann@A.example"))
	require.False(t, listed("bob@b.example"))
	require.NoError(t, s.desk.Ready(t.Context()))
}
