package adoption_test

import (
	"database/sql"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/encryption/adoption"
	"github.com/crmguard/crmguard/internal/testdb"
)

// A session may have its own way to quote names: what is computed from a column is
// seen in each.
func TestGeneratedColumnsAreSeenInEachMode(t *testing.T) {
	for _, mode := range []string{"", "ANSI_QUOTES", "ANSI", "ORACLE"} {
		for expression, seen := range map[string]bool{"lower(email)": true, "concat(person, 'email')": false} {
			t.Run(mode+" "+expression, func(t *testing.T) {
				e := newEnv(t, testdb.New(t, testdb.MariaDB), contactsDef, emailColumn, strings.Replace(contactsSQL, "seen", "low VARCHAR(250) AS ("+expression+") STORED, seen", 1))
				e.db.SetMaxOpenConns(1)
				e.exec(t, `SET SESSION sql_mode = CONCAT(@@sql_mode, ',`+mode+`')`)
				_, err := e.a.SQL(t.Context())
				if !seen {
					require.NoError(t, err)
					return
				}
				var detail *adoption.ColumnError
				require.ErrorAs(t, err, &detail)
				require.Contains(t, detail.Why, "GENERATED column low")
			})
		}
	}
}

// A CHECK that stands at a column which is not adopted leaves that one's NOT NULL.
func TestACheckAtAnotherColumnLeavesItsNotNull(t *testing.T) {
	e := newEnv(t, testdb.New(t, testdb.MariaDB), contactsDef, emailColumn, strings.Replace(contactsSQL, "DEFAULT 0", "DEFAULT 0 CHECK (email IS NOT NULL OR seen > 3)", 1))
	e.old(t, "1", "p1", "ann@b.example")
	e.to(t, adoption.ReadSealed)
	require.True(t, e.backfill(t).Clean)
	for _, statement := range e.refused(t, adoption.SealedOnly, gone).SQL {
		e.exec(t, statement)
	}
	e.move(t, adoption.SealedOnly, gone)
	var nullable string
	require.NoError(t, e.db.QueryRowContext(t.Context(), `SELECT IS_NULLABLE FROM information_schema.COLUMNS WHERE TABLE_NAME = 'contacts' AND COLUMN_NAME = 'seen' AND TABLE_SCHEMA = DATABASE()`).Scan(&nullable))
	require.Equal(t, "NO", nullable)
}

// A column in the clear that is a part of the PRIMARY KEY leaves it for the key that
// rows are named by, and comes back.
func TestAPrimaryKeyGivesWay(t *testing.T) {
	for _, name := range []testdb.Name{testdb.PostgresC, testdb.MariaDB} {
		for _, key := range []string{"email", "person, email"} {
			t.Run(string(name)+" "+key, func(t *testing.T) {
				e := newEnv(t, testdb.New(t, name), uniqueDef, emailColumn, `CREATE TABLE contacts (id VARCHAR(40) NOT NULL UNIQUE, person VARCHAR(40) NOT NULL, email VARCHAR(200) NOT NULL, seen INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (`+key+`))`)
				e.old(t, "1", "p1", "ann@b.example")
				all, err := e.a.Obstacles(t.Context(), tenant)
				require.NoError(t, err)
				require.Len(t, all, 1)
				require.Contains(t, all[0].Why, "PRIMARY KEY")
				e.to(t, adoption.ReadSealed)
				require.True(t, e.backfill(t).Clean)
				for _, statement := range e.refused(t, adoption.SealedOnly, gone).SQL {
					e.exec(t, statement)
				}
				e.move(t, adoption.SealedOnly, gone)
				e.clear(t)
				e.move(t, adoption.ReadSealed, adoption.MoveOptions{})
				_, err = e.a.Unseal(t.Context(), tenant, adoption.JobOptions{})
				require.NoError(t, err)
				restore, err := e.a.RestoreSQL(t.Context(), tenant)
				require.NoError(t, err)
				for _, statement := range restore {
					e.exec(t, statement)
				}
				_, err = e.db.ExecContext(t.Context(), `INSERT INTO contacts (id, person, email) VALUES ('2', 'p1', 'ann@b.example')`)
				require.Error(t, err, "the key is back")
				_, err = e.db.ExecContext(t.Context(), `INSERT INTO contacts (id, person) VALUES ('3', 'p1')`)
				require.Error(t, err, "and NOT NULL with it")
			})
		}
	}
	t.Run("of parts", func(t *testing.T) {
		def := uniqueDef
		def.Key = "id, seen"
		e := newEnv(t, testdb.New(t, testdb.PostgresC), def, emailColumn, `CREATE TABLE contacts (id VARCHAR(40) NOT NULL, person VARCHAR(40), email VARCHAR(200), seen INTEGER NOT NULL DEFAULT 0, UNIQUE (id, seen), PRIMARY KEY (seen, email)) PARTITION BY LIST (seen)`)
		e.exec(t, `CREATE TABLE contacts_0 PARTITION OF contacts DEFAULT`)
		e.old(t, "1", "p1", "ann@b.example")
		require.Contains(t, e.remedied(t).Why, "PRIMARY KEY")
	})
}

// The order in which a program names its columns is nobody's matter: the guard is the
// same.
func TestTheGuardIsTheSameInEachOrder(t *testing.T) {
	eachSchema(t, func(t *testing.T, d testdb.Database) {
		def := contactsDef
		def.Columns = append(def.Columns[:1:1], encryption.Column{Name: "phone", SQL: "phone_sealed"})
		cols := []adoption.Column{{Name: "phone", Plain: "phone"}, {Name: "email", Plain: "email"}}
		e := newEnv(t, d, def, cols, strings.Replace(contactsSQL, "seen", "phone VARCHAR(40), seen", 1))
		e.prepare(t)
		table, err := e.vault.Table(def)
		require.NoError(t, err)
		other, err := adoption.Open(t.Context(), adoption.Config{DB: e.db, Table: table, Columns: []adoption.Column{cols[1], cols[0]}})
		require.NoError(t, err)
		have, err := other.Guard(t.Context())
		require.NoError(t, err)
		require.Equal(t, adoption.Reset, have)
	})
}

// A trigger of one partition alone that runs behind the guard is renamed where it
// stands; what partitions have from their table is renamed with that one.
func TestATriggerOfOnePartitionIsRenamedThere(t *testing.T) {
	e := newEnv(t, testdb.New(t, testdb.PostgresC), contactsDef, emailColumn, contactsSQL+` PARTITION BY RANGE (id)`)
	e.exec(t, `CREATE TABLE "contacts.0" PARTITION OF contacts FOR VALUES FROM ('0') TO ('9')`)
	e.prepare(t)
	e.exec(t, `CREATE FUNCTION folds() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.email := lower(NEW.email); RETURN NEW; END'`)
	e.exec(t, `CREATE TRIGGER "zzz One" BEFORE UPDATE ON "contacts.0" FOR EACH ROW EXECUTE FUNCTION folds()`)
	e.exec(t, `CREATE TRIGGER zzz_all BEFORE UPDATE ON contacts FOR EACH ROW EXECUTE FUNCTION folds()`)
	e.remedied(t)
	have, err := e.a.Guard(t.Context())
	require.NoError(t, err)
	require.Equal(t, adoption.Reset, have)
}

// What stands between a keyword and its parenthesis in a statement of SQLite hides
// neither a CHECK nor a generated column, in a table without rows either.
func TestCommentsHideNothing(t *testing.T) {
	for create, says := range map[string]string{
		"email TEXT CHECK/*x*/(email IS NOT NULL)":                                    "a CHECK without a name over email",
		"email TEXT CHECK -- why (\n /* a */ (email IS NOT NULL)":                     "a CHECK without a name over email",
		"email TEXT, low TEXT GENERATED ALWAYS AS/*x*/(lower(email))":                 "GENERATED column low",
		"email TEXT, low TEXT AS -- why\n (lower(email)), up TEXT AS (upper(person))": "GENERATED column low",
	} {
		t.Run(create, func(t *testing.T) {
			e := newEnv(t, testdb.New(t, testdb.SQLite), contactsDef, emailColumn, strings.Replace(contactsSQL, "email VARCHAR(200)", create, 1))
			all, err := e.a.Obstacles(t.Context(), tenant)
			require.NoError(t, err)
			require.Len(t, all, 1, "%v", all)
			require.Contains(t, all[0].Why, says)
		})
	}
}

// An account that may not read the guard is told of none that is missing, and counts
// it for none where it has to stand.
func TestAHiddenGuardIsNotMissing(t *testing.T) {
	d := testdb.New(t, testdb.MariaDB)
	e := newEnv(t, d, contactsDef, emailColumn, contactsSQL)
	e.to(t, adoption.WriteBoth)
	role, as := d.Role(t)
	for _, one := range []string{"contacts", "crmguard_adoption", "crmguard_adoption_job", "crmguard_schema"} {
		e.exec(t, "GRANT SELECT, INSERT, UPDATE, DELETE ON "+one+" TO "+role)
	}
	db := as.Open(t)
	a := e.as(t, db)
	missing, err := a.SQL(t.Context())
	require.NoError(t, err)
	require.Empty(t, missing)
	have, err := a.Guard(t.Context())
	require.NoError(t, err)
	require.Equal(t, adoption.HiddenGuard, have)
	require.ErrorIs(t, a.Move(t.Context(), tenant, adoption.ReadSealed, adoption.MoveOptions{}), adoption.ErrNotReady)
}

// as is a process of the new release with another account.
func (e *env) as(t *testing.T, db *sql.DB) *adoption.Adoption {
	t.Helper()
	table, err := e.vault.Table(e.def)
	require.NoError(t, err)
	a, err := adoption.Open(t.Context(), adoption.Config{DB: db, Table: table, Columns: e.cols})
	require.NoError(t, err)
	return a
}

// A finding that ends with its process, and not with its cause, says so.
func TestWhatWasMetIsToldFromWhatIs(t *testing.T) {
	e := newEnv(t, testdb.New(t, testdb.SQLite), contactsDef, emailColumn, contactsSQL)
	e.to(t, adoption.SealedOnly)
	e.guard(t, adoption.Refuse)
	report, err := e.a.Clear(t.Context(), tenant, adoption.JobOptions{})
	require.NoError(t, err)
	require.True(t, report.Clean)
	e.guard(t, adoption.NoGuard)
	e.old(t, "1", "p1", "ann@b.example")
	require.ErrorIs(t, adoption.OpenAll(t.Context(), e.a, tenant, e.rows(t, "")), adoption.ErrInClear)
	require.Contains(t, e.finding(t, "encryption.adoption.inclear").Remedy, "(1 stand there now, 1 met since")
	e.exec(t, `DELETE FROM contacts`)
	require.Contains(t, e.finding(t, "encryption.adoption.inclear").Remedy, "(0 stand there now, 1 met since")
}
