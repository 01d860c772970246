package sqltrail_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/audit"
	"github.com/crmguard/crmguard/audit/auditlog"
	"github.com/crmguard/crmguard/audit/capture"
	"github.com/crmguard/crmguard/internal/testdb"
)

// reachable has tables in which a person stands otherwise than as a text that is a key
// within a tenant.
func (s *capturing) reachable() {
	s.t.Helper()
	s.exec(`CREATE TABLE members (id char(8) PRIMARY KEY, tenant char(8), name text)`)
	s.exec(`CREATE TABLE notes (id bigint PRIMARY KEY, contact_id text, body text)`)
	s.exec(`CREATE TABLE profiles (contact_id char(8), part int, body text, PRIMARY KEY (contact_id, part))`)
	s.config.PersonKinds = append(s.config.PersonKinds, "member")
	s.packs(capture.Table{Name: "members", Kind: "member", TenantColumn: "tenant"},
		capture.Table{Name: "notes", Kind: "note", Tenant: "main", Person: "contact_id"},
		capture.Table{Name: "profiles", Kind: "profile", Tenant: "main", Person: "contact_id"})
}

// silent says that nothing of a person stands in the log.
func (s *capturing) silent(canary string) {
	s.t.Helper()
	for e, err := range auditlog.Entries(s.t.Context(), s.sink.FS()) {
		require.NoError(s.t, err)
		require.NotContains(s.t, string(e.Leaf), canary)
	}
}

// An erasure reaches what is captured about a person under a padded key, in a row
// without a tenant, and in rows of tables that name the person besides.
func TestAnErasureReachesEveryRowAboutThePerson(t *testing.T) {
	eachCapturing(t, func(t *testing.T, s *capturing) {
		ctx := t.Context()
		s.reachable()
		require.NoError(t, s.trail.Prepare(ctx, "main", "canary"))
		about := map[string]string{
			"a padded key":           `INSERT INTO members VALUES ('canary', 'main', 'x')`,
			"no tenant":              `INSERT INTO members VALUES ('canary', NULL, 'x')`,
			"a note":                 `INSERT INTO notes VALUES (17, 'canary', 'x')`,
			"a key with the person":  `INSERT INTO profiles VALUES ('canary', 1, 'x')`,
			"another's that becomes": `UPDATE notes SET contact_id = 'canary' WHERE id = 18`,
		}
		for what, query := range about {
			s.exec(`DELETE FROM members`)
			s.exec(`DELETE FROM notes`)
			s.exec(`DELETE FROM profiles`)
			s.exec(`INSERT INTO notes VALUES (18, 'other', 'x')`)
			s.exec(`DELETE FROM crmguard_audit_captured`)
			s.exec(query)
			for _, person := range []string{"canary", "canary  "} { // as a driver reads a char(8)
				n, err := s.trail.Left(ctx, "main", person)
				require.NoError(t, err)
				require.Positive(t, n, what)
			}
			n, err := s.trail.Left(ctx, "main", "nobody")
			require.NoError(t, err)
			require.Zero(t, n, what)
			require.NoError(t, s.trail.Erase(ctx, "main", "canary"))
			n, err = s.trail.Left(ctx, "main", "canary")
			require.NoError(t, err)
			require.Zero(t, n, what)
			require.Zero(t, s.count(`SELECT COUNT(*) FROM crmguard_audit_captured WHERE row_to_json(crmguard_audit_captured)::text LIKE '%canary%'`), what)
		}
		s.exec(`DELETE FROM notes WHERE id = 18`)
		s.sequence()
		require.Contains(t, s.filed(), "notes d ", "what belonged to somebody who was erased is not named behind it")
		s.silent("canary")
		s.agree()
	})
}

// What is captured of a row about a person is found among what is recorded about the
// person, by the surrogate.
func TestARowAboutAPersonIsFoundByThePerson(t *testing.T) {
	eachCapturing(t, func(t *testing.T, s *capturing) {
		ctx := t.Context()
		s.reachable()
		require.NoError(t, s.trail.Prepare(ctx, "main", "canary"))
		s.does([]string{
			`INSERT INTO members VALUES ('canary', 'main', 'x')`, `INSERT INTO notes VALUES (17, 'canary', 'x'), (18, NULL, 'x'), (19, 'unknown', 'x')`,
			`INSERT INTO profiles VALUES ('canary', 1, 'x')`, `UPDATE notes SET contact_id = 'canary' WHERE id = 18`, `UPDATE notes SET body = 'y' WHERE id = 17`,
		})
		s.does([]string{`UPDATE notes SET body = 'z' WHERE id = 17`, `UPDATE members SET name = 'y'`},
			event(t, audit.Ref("note", "17"), "body"), event(t, audit.PersonRef("member", "canary"), "name"))
		s.sequence()
		who := s.surrogate("canary")
		require.Equal(t, []string{
			"members i " + who, "notes i 17", "notes i 18", "notes i ", "profiles i ", "notes u 18", "notes u 18", "notes u 17",
			"notes u 17", "members u " + who, // whose names of fields are not declared
		}, s.filed())
		found := 0
		for _, err := range s.trail.History(ctx, "main", audit.About("canary"), audit.Page{Size: 100}) {
			require.NoError(t, err)
			found++
		}
		require.Equal(t, 8, found, "the members, the notes, the profile, and the event about the member")
		s.silent("canary")
		s.agree()
	})
}

// Of a row that is about nobody nobody's surrogate is looked for.
func TestRowsAboutNobodyAskForNobody(t *testing.T) {
	d := testdb.New(t, testdb.PostgresC)
	s := newCapturing(t, d.OpenWith(t, "pgx"))
	s.reachable()
	db, c := d.Cutting(t, "pgx")
	trail := s.over(db)
	pass := func(note int, person string) int {
		s.exec(`INSERT INTO notes VALUES ($1, NULLIF($2, ''), 'x')`, note, person)
		c.Counts()
		r, err := trail.RunOnce(t.Context())
		require.NoError(t, err)
		require.Equal(t, 1, r.Captured)
		return c.Counts().Statements
	}
	more := 0
	for note := range 10 { // by turns: what the tree costs is not the same in each pass
		more += pass(4*note, "p1") - pass(4*note+1, "")
		more -= pass(4*note+2, "") - pass(4*note+3, "p1")
	}
	require.Greater(t, more, 10)
}
