package adoption_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/encryption/adoption"
	"github.com/crmguard/crmguard/internal/testdb"
)

// insert is what the new release writes, with the index that is unique where the
// definition has one.
func (e *env) insert(t *testing.T, id, person, email string) error {
	t.Helper()
	w, err := e.a.Writer(t.Context(), tenant, person)
	require.NoError(t, err)
	columns, args := []string{"id", "person"}, []any{id, person}
	if email != "" {
		columns, args = append(columns, "email", "email_sealed", e.idx()), append(args, w.Plain("email", email), w.Text("email", email), w.Int64(e.idx(), email))
		if len(e.def.Columns[0].Index) > 0 {
			columns, args = append(columns, "email_unique"), append(args, w.Index("email_unique", email))
		}
	}
	_, err = e.db.ExecContext(t.Context(), e.bind(`INSERT INTO contacts (`+strings.Join(columns, ", ")+`) VALUES (?`+strings.Repeat(", ?", len(args)-1)+`)`), args...)
	return err
}

// One row with a value for each person: a uniqueness whose predicate asks whether
// anything stands in the clear is kept by one that asks that of the sealed column, and
// by no other.
func TestAUniquenessByItsPredicateIsKept(t *testing.T) {
	for _, one := range []struct {
		name             testdb.Name
		create, suggests string // nothing: no index keeps it
		def              encryption.Table
	}{
		{testdb.PostgresC, `CREATE UNIQUE INDEX one ON contacts (person) WHERE email IS NOT NULL`, `(person) WHERE (email_sealed IS NOT NULL)`, uniqueDef},
		{testdb.SQLite, `CREATE UNIQUE INDEX one ON contacts (person) WHERE "email" NOT NULL`, `(person) WHERE email_sealed NOT NULL`, uniqueDef},
		{testdb.PostgresC, `CREATE UNIQUE INDEX one ON contacts (lower(person), seen) WHERE email IS NOT NULL AND seen = 0`, `(lower((person)::text), seen) WHERE ((email_sealed IS NOT NULL) AND (seen = 0))`, contactsDef},
		{testdb.SQLite, `CREATE UNIQUE INDEX one ON contacts (lower(person), seen) WHERE email IS NOT NULL AND seen = 0`, `(lower(person), seen) WHERE email_sealed IS NOT NULL AND seen = 0`, contactsDef},
		{testdb.PostgresC, `ALTER TABLE contacts ADD CONSTRAINT one EXCLUDE USING btree (person WITH =) WHERE (email IS NOT NULL)`, `(person) WHERE (email_sealed IS NOT NULL)`, contactsDef},
		{testdb.PostgresC, `CREATE UNIQUE INDEX one ON contacts (person) WHERE email <> ''`, "", uniqueDef},
		{testdb.PostgresC, `CREATE UNIQUE INDEX one ON contacts (person) WHERE email IS NOT NULL AND email LIKE '%@%'`, "", contactsDef},
		{testdb.PostgresC, `CREATE UNIQUE INDEX one ON contacts (person text_pattern_ops) WHERE email IS NOT NULL`, "", uniqueDef},
		{testdb.SQLite, `CREATE UNIQUE INDEX one ON contacts (person) WHERE length(email) > 3`, "", uniqueDef},
		{testdb.SQLite, `CREATE UNIQUE INDEX one ON contacts (person) WHERE id <> 'email IS NOT NULL' AND email IS NOT NULL`, "", contactsDef},
	} {
		t.Run(string(one.name)+" "+one.create, func(t *testing.T) {
			e := newEnv(t, testdb.New(t, one.name), one.def, emailColumn, contactsSQL)
			e.exec(t, one.create)
			e.old(t, "1", "p1", "ann@b.example")
			require.Error(t, e.alike(t, "p1"))
			all, err := e.a.Obstacles(t.Context(), tenant)
			require.NoError(t, err)
			if one.suggests == "" {
				require.Len(t, all, 1, "%v", all)
				require.Equal(t, adoption.SealedOnly, all[0].Before)
				require.Equal(t, "LoseUnique", all[0].Option)
				require.Empty(t, all[0].SQL)
			} else {
				require.Empty(t, all)
			}
			e.to(t, adoption.ReadSealed)
			require.True(t, e.backfill(t).Clean)
			detail := e.refused(t, adoption.SealedOnly, gone)
			if one.suggests == "" {
				require.Equal(t, all, detail.Obstacles)
				e.move(t, adoption.SealedOnly, adoption.MoveOptions{OldReleaseGone: true, LoseUnique: []string{"one"}})
				return
			}
			require.Len(t, detail.SQL, 1, "%v", detail)
			require.True(t, strings.HasSuffix(strings.ReplaceAll(detail.SQL[0], `"email_sealed"`, "email_sealed"), one.suggests), detail.SQL[0])
			e.exec(t, `CREATE UNIQUE INDEX half ON contacts (id, person)`) // which keeps less
			e.exec(t, `CREATE UNIQUE INDEX other ON contacts (person) WHERE seen > 3`)
			if one.name == testdb.SQLite {
				require.True(t, e.backfill(t).Clean, "the schema was changed there")
			}
			require.Equal(t, detail.SQL, e.refused(t, adoption.SealedOnly, gone).SQL)
			e.exec(t, detail.SQL[0])
			if one.name == testdb.SQLite {
				require.True(t, e.backfill(t).Clean)
			}
			e.move(t, adoption.SealedOnly, gone)
			require.NoError(t, e.insert(t, "2", "p1", ""))
			require.NoError(t, e.insert(t, "3", "p2", "bob@b.example"))
			require.Error(t, e.insert(t, "4", "p1", "second@b.example"))
		})
	}
}

// alike is a second row with a value for a person, in the clear.
func (e *env) alike(t *testing.T, person string) error {
	t.Helper()
	_, err := e.db.ExecContext(t.Context(), e.bind(`INSERT INTO contacts (id, person, email) VALUES ('9', ?, 'second@b.example')`), person)
	return err
}

// An exclusion that is no equality is nothing that a unique index keeps.
func TestAnExclusionThatIsNoEqualityIsNamed(t *testing.T) {
	for _, exclude := range []string{
		`EXCLUDE USING gist (span WITH &&) WHERE (email IS NOT NULL)`,
		`EXCLUDE USING btree (email WITH =, seen WITH <>)`,
	} {
		t.Run(exclude, func(t *testing.T) {
			e := newEnv(t, testdb.New(t, testdb.PostgresC), uniqueDef, emailColumn, strings.Replace(contactsSQL, "seen", "span int4range, seen", 1))
			if strings.Contains(exclude, "<>") {
				if _, err := e.db.ExecContext(t.Context(), `CREATE EXTENSION btree_gist`); err != nil {
					t.Skip("the server has no btree_gist")
				}
				exclude = strings.Replace(exclude, "btree", "gist", 1)
			}
			e.exec(t, `ALTER TABLE contacts ADD CONSTRAINT spans `+exclude)
			e.old(t, "1", "p1", "ann@b.example")
			all, err := e.a.Obstacles(t.Context(), tenant)
			require.NoError(t, err)
			e.to(t, adoption.ReadSealed)
			require.True(t, e.backfill(t).Clean)
			for _, all := range [][]adoption.Obstacle{all, e.refused(t, adoption.SealedOnly, gone).Obstacles} {
				require.Len(t, all, 1, "%v", all)
				require.Contains(t, all[0].Why, "the exclusion spans over email is no equality")
				require.Equal(t, "LoseUnique", all[0].Option)
				require.Empty(t, all[0].SQL)
			}
			e.move(t, adoption.SealedOnly, adoption.MoveOptions{OldReleaseGone: true, LoseUnique: []string{"spans"}})
		})
	}
}

// Values that a predicate over the clear leaves out are equal to the index that takes
// its place, which has no such predicate: that is known at Plain.
func TestValuesThatAPredicateLeavesOutAreSeenBefore(t *testing.T) {
	for _, name := range []testdb.Name{testdb.SQLite, testdb.PostgresC} {
		t.Run(string(name), func(t *testing.T) {
			e := newEnv(t, testdb.New(t, name), uniqueDef, emailColumn, contactsSQL)
			e.exec(t, `CREATE UNIQUE INDEX partly ON contacts (email) WHERE email <> 'unknown@b.example'`)
			for _, id := range []string{"1", "2"} {
				e.old(t, id, "p1", "unknown@b.example")
			}
			all, err := e.a.Obstacles(t.Context(), tenant)
			require.NoError(t, err)
			require.Len(t, all, 1)
			require.EqualValues(t, 2, all[0].Rows)
			e.exec(t, `DELETE FROM contacts WHERE id = '2'`)
			all, err = e.a.Obstacles(t.Context(), tenant)
			require.NoError(t, err)
			require.Empty(t, all)
		})
	}
}

// UNIQUE over two columns that are both adopted is kept by one index over both wide
// columns: NULL will stand in either.
func TestUniqueOverTwoAdoptedColumnsIsKeptByBoth(t *testing.T) {
	def := encryption.Table{Name: "contacts", Columns: []encryption.Column{uniqueDef.Columns[0], {
		Name: "phone", SQL: "phone_sealed", Index: []encryption.Index{{Column: "phone_unique", As: encryption.Exact, Bits: 128, Unique: true}},
	}}}
	cols := []adoption.Column{{Name: "email", Plain: "email"}, {Name: "phone", Plain: "phone"}}
	eachSchema(t, func(t *testing.T, d testdb.Database) {
		e := newEnv(t, d, def, cols, strings.Replace(contactsSQL, "seen", "phone VARCHAR(40), seen", 1))
		e.exec(t, `CREATE UNIQUE INDEX both_of ON contacts (phone, email)`)
		for id, phone := range map[string]string{"1": "1", "2": "2"} {
			e.exec(t, `INSERT INTO contacts (id, person, email, phone) VALUES (?, 'p1', 'ann@b.example', ?)`, id, phone)
		}
		all, err := e.a.Obstacles(t.Context(), tenant)
		require.NoError(t, err)
		require.Empty(t, all)
		e.to(t, adoption.ReadSealed)
		require.True(t, e.backfill(t).Clean)
		e.exec(t, `CREATE UNIQUE INDEX half ON contacts (phone, email_unique)`) // which keeps nothing
		if d.Name == testdb.SQLite {
			require.True(t, e.backfill(t).Clean)
		}
		detail := e.refused(t, adoption.SealedOnly, gone)
		require.Len(t, detail.SQL, 1, "%v", detail)
		require.Regexp(t, "\\(.phone_unique., .email_unique.\\)$", detail.SQL[0])
		e.exec(t, detail.SQL[0])
		if d.Name == testdb.SQLite {
			require.True(t, e.backfill(t).Clean)
		}
		e.move(t, adoption.SealedOnly, gone)
	})
}
