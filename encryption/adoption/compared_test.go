package adoption_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/encryption/adoption"
	"github.com/crmguard/crmguard/internal/testdb"
)

// tenantsDef is uniqueDef with a column of tenants, exactDef with an index that tells
// upper from lower case.
var (
	tenantsDef = encryption.Table{Name: "contacts", Tenant: "tenant", Columns: uniqueDef.Columns}
	exactDef   = encryption.Table{Name: "contacts", Columns: []encryption.Column{{
		Name: "email", SQL: "email_sealed", Find: encryption.Email, Index: []encryption.Index{{Column: "email_unique", As: encryption.Exact, Bits: 128, Unique: true}},
	}}}
)

const tenantsSQL = `CREATE TABLE contacts (id VARCHAR(40) NOT NULL PRIMARY KEY, tenant VARCHAR(40) NOT NULL, person VARCHAR(40), email VARCHAR(200), seen INTEGER NOT NULL DEFAULT 0)`

// compared is one uniqueness in the clear.
type compared struct {
	name   testdb.Name
	def    encryption.Table
	create string // the table
	unique string // "" where the table has it
	called string
}

func ofUnique(name testdb.Name, unique string) compared {
	return compared{name, uniqueDef, contactsSQL, unique, "one"}
}

// What an index over the sealed column does not keep, because it compares whole values
// of one tenant and does nothing but refuse, is said while the definition may change,
// and once more before it is lost; no statement pretends to keep it.
func TestAUniquenessThatNoIndexKeepsIsNamed(t *testing.T) {
	all := []compared{
		ofUnique(testdb.PostgresC, `CREATE UNIQUE INDEX one ON contacts (split_part(email, '@', 2))`),
		ofUnique(testdb.PostgresICU, `CREATE UNIQUE INDEX one ON contacts (seen, left(lower(email), 3))`),
		ofUnique(testdb.PostgresC, `CREATE UNIQUE INDEX one ON contacts ((email || person))`),
		ofUnique(testdb.PostgresC, `CREATE UNIQUE INDEX one ON contacts (coalesce(email, id))`),
		ofUnique(testdb.PostgresC, `CREATE UNIQUE INDEX one ON contacts ((email::varchar(3)))`),
		ofUnique(testdb.PostgresC, `CREATE UNIQUE INDEX one ON contacts (btrim(email, 'abc'))`),
		ofUnique(testdb.PostgresC, `ALTER TABLE contacts ADD CONSTRAINT one EXCLUDE USING btree (left(email, 3) WITH =)`),
		ofUnique(testdb.SQLite, `CREATE UNIQUE INDEX one ON contacts (substr(email, instr(email, '@')) DESC)`),
		ofUnique(testdb.SQLite, `CREATE UNIQUE INDEX one ON contacts (seen, coalesce(email, id))`),
		ofUnique(testdb.MariaDB, `CREATE UNIQUE INDEX one ON contacts (seen, email(3))`),
		{testdb.PostgresC, exactDef, contactsSQL, `CREATE UNIQUE INDEX one ON contacts (lower(email))`, "one"},
		{testdb.SQLite, exactDef, contactsSQL, `CREATE UNIQUE INDEX one ON contacts (email COLLATE NOCASE)`, "one"},
		{testdb.SQLite, uniqueDef, strings.Replace(contactsSQL, "email VARCHAR(200)", "email VARCHAR(200) UNIQUE ON CONFLICT IGNORE", 1), "", "sqlite_autoindex_contacts_2"},
		{testdb.SQLite, uniqueDef, strings.Replace(contactsSQL, "DEFAULT 0", "DEFAULT 0, UNIQUE (seen, email)\n ON CONFLICT REPLACE", 1), "", "sqlite_autoindex_contacts_2"},
		{testdb.MariaDB, uniqueDef, strings.Replace(contactsSQL, "seen INTEGER", "since DATE NOT NULL DEFAULT '2026-01-01', till DATE NOT NULL DEFAULT '2026-02-01', PERIOD FOR valid (since, till), UNIQUE KEY `o``ne` (email, valid WITHOUT OVERLAPS), seen INTEGER", 1), "", "o`ne"},
	}
	for _, d := range testdb.Names() {
		all = append(
			all,
			compared{d, tenantsDef, tenantsSQL, `CREATE UNIQUE INDEX one ON contacts (email)`, "one"},
			compared{d, tenantsDef, tenantsSQL, `CREATE UNIQUE INDEX one ON contacts (seen, email)`, "one"},
		)
	}
	for _, one := range all {
		t.Run(string(one.name)+" "+one.unique+one.called, func(t *testing.T) {
			e := newEnv(t, testdb.New(t, one.name), one.def, emailColumn, one.create)
			if one.unique != "" {
				e.exec(t, one.unique)
			}
			if one.def.Tenant == "" {
				e.old(t, "1", "p1", "ann@b.example")
			} else {
				e.exec(t, `INSERT INTO contacts (id, tenant, person, email) VALUES ('1', 't1', 'p1', 'ann@b.example')`)
			}
			named := func(all []adoption.Obstacle, before adoption.Stage) {
				t.Helper()
				require.Len(t, all, 1, "%v", all)
				require.Equal(t, before, all[0].Before)
				require.Equal(t, "LoseUnique", all[0].Option)
				require.Equal(t, one.called, all[0].Name)
				require.Empty(t, all[0].SQL)
			}
			found, err := e.a.Obstacles(t.Context(), tenant)
			require.NoError(t, err)
			named(found, adoption.WriteBoth)
			e.prepare(t)
			named(e.refused(t, adoption.WriteBoth, adoption.MoveOptions{}).Obstacles, adoption.WriteBoth)
			lose := adoption.MoveOptions{OldReleaseGone: true, LoseUnique: []string{one.called}}
			e.move(t, adoption.WriteBoth, lose)
			found, err = e.a.Obstacles(t.Context(), tenant)
			require.NoError(t, err)
			named(found, adoption.SealedOnly)
			require.True(t, e.backfill(t).Clean)
			e.move(t, adoption.ReadSealed, lose)
			require.True(t, e.backfill(t).Clean)
			named(e.refused(t, adoption.SealedOnly, gone).Obstacles, adoption.SealedOnly)
			e.move(t, adoption.SealedOnly, lose)
		})
	}
}

// What compares whole values, however that is written, and of one tenant, is kept.
func TestAUniquenessOfWholeValuesIsNoObstacle(t *testing.T) {
	for _, one := range []compared{
		ofUnique(testdb.PostgresC, `CREATE UNIQUE INDEX one ON contacts (lower(trim(email)) DESC NULLS LAST)`),
		ofUnique(testdb.PostgresC, `CREATE UNIQUE INDEX one ON contacts (md5(lower(email::text) COLLATE "C"))`),
		ofUnique(testdb.PostgresC, `CREATE UNIQUE INDEX one ON contacts (email COLLATE "C" varchar_pattern_ops NULLS FIRST, (seen + 1))`),
		ofUnique(testdb.PostgresC, `CREATE UNIQUE INDEX one ON contacts (nullif(lower(email), 'none'))`),
		ofUnique(testdb.PostgresC, `CREATE UNIQUE INDEX one ON contacts (id, coalesce(email, ''))`),
		ofUnique(testdb.SQLite, `CREATE UNIQUE INDEX one ON contacts (CAST(trim([email]) AS TEXT) COLLATE NOCASE)`),
		ofUnique(testdb.MariaDB, "CREATE UNIQUE INDEX one ON contacts (person(3), email)"),
		{testdb.PostgresC, exactDef, contactsSQL, `CREATE UNIQUE INDEX one ON contacts (email)`, ""},
		{testdb.PostgresC, tenantsDef, tenantsSQL, `CREATE UNIQUE INDEX one ON contacts (lower(email), tenant)`, ""},
		{testdb.MariaDB, tenantsDef, tenantsSQL, `CREATE UNIQUE INDEX one ON contacts (tenant, email)`, ""},
		{testdb.SQLite, tenantsDef, tenantsSQL, `CREATE UNIQUE INDEX one ON contacts (email, "tenant")`, ""},
		{testdb.SQLite, tenantsDef, tenantsSQL, `CREATE UNIQUE INDEX one ON contacts (email, id)`, ""}, // an id is of one tenant
		{testdb.SQLite, tenantsDef, strings.Replace(tenantsSQL, "DEFAULT 0", "DEFAULT 0 UNIQUE ON CONFLICT IGNORE", 1), `CREATE UNIQUE INDEX one ON contacts (email, tenant)`, ""},
	} {
		t.Run(string(one.name)+" "+one.unique, func(t *testing.T) {
			e := newEnv(t, testdb.New(t, one.name), one.def, emailColumn, one.create)
			e.exec(t, one.unique)
			all, err := e.a.Obstacles(t.Context(), tenant)
			require.NoError(t, err)
			require.Empty(t, all)
		})
	}
}

// What a uniqueness compares beside the value stays in the index that takes its place
// as it was written: that refuses what the old one did, and nothing else.
func TestWhatIsComparedBesideTheValueStays(t *testing.T) {
	for _, one := range []struct {
		name              testdb.Name
		unique, suggested string
	}{
		{testdb.PostgresC, `CREATE UNIQUE INDEX one ON contacts (lower(label), email)`, `(lower((label)::text), "email_unique")`},
		{testdb.SQLite, `CREATE UNIQUE INDEX one ON contacts (lower(label), email)`, `(lower(label), "email_unique")`},
		{testdb.SQLite, `CREATE UNIQUE INDEX one ON contacts (email, label COLLATE NOCASE)`, `("email_unique", label COLLATE NOCASE)`},
		{testdb.MariaDB, `CREATE UNIQUE INDEX one ON contacts (label(4), email)`, "(`label`(4), `email_unique`)"},
	} {
		t.Run(string(one.name)+" "+one.unique, func(t *testing.T) {
			e := newEnv(t, testdb.New(t, one.name), uniqueDef, emailColumn, strings.Replace(contactsSQL, "seen", "label VARCHAR(40), seen", 1))
			e.exec(t, one.unique)
			for id, label := range map[string]string{"1": "Work", "2": "home"} {
				e.exec(t, `INSERT INTO contacts (id, person, label, email) VALUES (?, 'p1', ?, 'ann@b.example')`, id, label)
			}
			all, err := e.a.Obstacles(t.Context(), tenant)
			require.NoError(t, err)
			require.Empty(t, all, "two labels of one address are what it allows")
			e.to(t, adoption.ReadSealed)
			require.True(t, e.backfill(t).Clean)
			detail := e.refused(t, adoption.SealedOnly, gone)
			require.Len(t, detail.SQL, 1, "%v", detail)
			require.True(t, strings.HasSuffix(detail.SQL[0], one.suggested), detail.SQL[0])
			e.exec(t, detail.SQL[0])
			if one.name == testdb.SQLite {
				require.True(t, e.backfill(t).Clean, "the schema was changed there")
			}
			e.move(t, adoption.SealedOnly, gone)
			insert := func(id, label string) error {
				w, err := e.a.Writer(t.Context(), tenant, "p1")
				require.NoError(t, err)
				_, err = e.db.ExecContext(t.Context(), e.bind(`INSERT INTO contacts (id, person, label, email_sealed, email_sealed_idx, email_unique) VALUES (?, 'p1', ?, ?, ?, ?)`),
					id, label, w.Text("email", "ann@b.example"), w.Int64("email_sealed_idx", "ann@b.example"), w.Index("email_unique", "ann@b.example"))
				return err
			}
			require.NoError(t, insert("3", "assistant"))
			require.Error(t, insert("4", "WORK"))
		})
	}
}
