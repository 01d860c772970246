package adoption_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/encryption/adoption"
	"github.com/crmguard/crmguard/internal/testdb"
)

// eachSchema is for what depends on the catalogue of a database, and not on how it
// compares text.
func eachSchema(t *testing.T, f func(t *testing.T, d testdb.Database)) {
	t.Helper()
	for _, name := range []testdb.Name{testdb.SQLite, testdb.PostgresC, testdb.MariaDB} {
		t.Run(string(name), func(t *testing.T) { f(t, testdb.New(t, name)) })
	}
}

// A CHECK that refuses a row without the value in the clear is found before
// SealedOnly, whether a row shows it or not, and at Plain; what drops it is said, and
// RestoreSQL brings it back.
func TestACheckThatRefusesIsFound(t *testing.T) {
	eachSchema(t, func(t *testing.T, d testdb.Database) {
		for _, one := range []struct {
			check string
			rows  int64
			empty bool // seen in a table without rows
		}{
			{`CONSTRAINT wants CHECK (email IS NOT NULL)`, 2, true},
			{`CONSTRAINT wants CHECK (email IS NOT NULL OR seen > 3)`, 1, false},
			{`CONSTRAINT wants CHECK (length(coalesce(email, '')) > 2)`, 2, true},
		} {
			e := newEnv(t, testdb.New(t, d.Name), contactsDef, emailColumn, strings.TrimSuffix(contactsSQL, ")")+", "+one.check+")")
			all, err := e.a.Obstacles(t.Context(), tenant)
			require.NoError(t, err)
			require.Len(t, all, 1)
			require.Equal(t, one.empty, all[0].Option == "", "%s: %v", one.check, all)
			e.old(t, "1", "p1", "ann@b.example")
			e.exec(t, `INSERT INTO contacts (id, person, email, seen) VALUES ('2', 'p2', 'bob@b.example', 4)`)
			all, err = e.a.Obstacles(t.Context(), tenant)
			require.NoError(t, err)
			require.Len(t, all, 1, "%s", one.check)
			require.Equal(t, adoption.SealedOnly, all[0].Before)
			require.Contains(t, all[0].Why, "CHECK wants over email refuses")
			require.Equal(t, one.rows, all[0].Rows)
			e.to(t, adoption.ReadSealed)
			require.True(t, e.backfill(t).Clean)
			detail := e.refused(t, adoption.SealedOnly, adoption.MoveOptions{OldReleaseGone: true, LoseChecks: true})
			require.Contains(t, detail.Why, "CHECK wants")
			if d.Name == testdb.SQLite { // which has no statement for it
				require.Contains(t, detail.Why, "made anew")
				continue
			}
			for _, statement := range detail.SQL {
				e.exec(t, statement)
			}
			e.move(t, adoption.SealedOnly, gone)
			require.Equal(t, map[string]string{"1": "ann@b.example", "2": "bob@b.example"}, e.read(t, e.a))
			e.move(t, adoption.ReadSealed, adoption.MoveOptions{})
			restore, err := e.a.RestoreSQL(t.Context(), tenant)
			require.NoError(t, err)
			for _, statement := range restore {
				e.exec(t, statement)
			}
			_, err = e.db.ExecContext(t.Context(), `INSERT INTO contacts (id, person) VALUES ('3', 'p3')`)
			require.ErrorContains(t, err, "wants")
		}
	})
}

// A CHECK that asks for one of both values is about what is sealed, too: it is asked
// about rows as they will be, and stands in nobody's way.
func TestACheckThatAsksForEitherIsKept(t *testing.T) {
	eachSchema(t, func(t *testing.T, d testdb.Database) {
		sealed := map[testdb.Name]string{testdb.SQLite: "BLOB", testdb.MariaDB: "LONGBLOB", testdb.PostgresC: "bytea", testdb.PostgresICU: "bytea"}[d.Name]
		create := strings.TrimSuffix(contactsSQL, ")") + `, email_sealed ` + sealed + `, CONSTRAINT either CHECK (email IS NOT NULL OR email_sealed IS NOT NULL))`
		e := newEnv(t, d, contactsDef, emailColumn, create)
		e.old(t, "1", "p1", "ann@b.example")
		e.exec(t, `INSERT INTO contacts (id, person, email) VALUES ('2', NULL, 'bob@b.example')`)
		all, err := e.a.Obstacles(t.Context(), tenant)
		require.NoError(t, err)
		require.Empty(t, all)
		e.to(t, adoption.ReadSealed)
		e.backfill(t)
		e.move(t, adoption.SealedOnly, adoption.MoveOptions{OldReleaseGone: true, Accept: 1})
		report := e.clear(t)
		require.EqualValues(t, 1, report.Changed)
		require.Equal(t, map[string]string{"1": "ann@b.example", "2": "bob@b.example"}, e.read(t, e.a))
	})
}

// A CHECK that will pass whatever is sealed is named, and stated.
func TestACheckThatChecksNothingAnyMoreIsNamed(t *testing.T) {
	eachSchema(t, func(t *testing.T, d testdb.Database) {
		for _, create := range []string{
			strings.Replace(contactsSQL, "email VARCHAR(200)", "email VARCHAR(200) CHECK (email LIKE '%@%')", 1),
			strings.TrimSuffix(contactsSQL, ")") + `, CONSTRAINT "mail" CHECK (/* email */ seen < 9 AND (person <> ')' OR email LIKE '%@%')))`,
		} {
			if d.Name == testdb.MariaDB {
				create = strings.ReplaceAll(create, `"mail"`, "`mail`")
			}
			e := newEnv(t, testdb.New(t, d.Name), contactsDef, emailColumn, create)
			e.old(t, "1", "p1", "ann@b.example")
			all, err := e.a.Obstacles(t.Context(), tenant)
			require.NoError(t, err)
			require.Len(t, all, 1, "%v", all)
			require.Equal(t, "LoseChecks", all[0].Option)
			e.to(t, adoption.ReadSealed)
			require.True(t, e.backfill(t).Clean)
			require.Contains(t, e.refused(t, adoption.SealedOnly, gone).Why, "LoseChecks")
			e.move(t, adoption.SealedOnly, adoption.MoveOptions{OldReleaseGone: true, LoseChecks: true})
		}
		// One that is about other columns, and only says the word.
		create := strings.TrimSuffix(contactsSQL, ")") + `, CHECK (person <> 'email_' AND seen < 9)) `
		e := newEnv(t, testdb.New(t, d.Name), contactsDef, emailColumn, create)
		all, err := e.a.Obstacles(t.Context(), tenant)
		require.NoError(t, err)
		require.Empty(t, all)
	})
}

// Texts that look like parts of a statement are none.
func TestWhatIsSaidInATextIsNoCheck(t *testing.T) {
	for name, create := range map[testdb.Name]string{
		testdb.SQLite:  `CREATE TABLE "contacts" (id VARCHAR(40) NOT NULL PRIMARY KEY, person VARCHAR(40) DEFAULT ', CHECK (email)', email VARCHAR(200) /* CHECK (email) */, "a CHECK (email)" INTEGER, seen INTEGER CHECK (seen <> 'it''s email (' AND "seen" < 9) -- CHECK (email` + "\n" + `)`,
		testdb.MariaDB: "CREATE TABLE contacts (id VARCHAR(40) NOT NULL PRIMARY KEY, person VARCHAR(40) COMMENT 'it\\'s \\\\', email VARCHAR(200), `a CHECK (email)` INTEGER COMMENT ', CHECK (email)', seen INTEGER CHECK (seen < 9), CHECK (person <> 'it\\'s (' AND person <> '\\\\'))",
	} {
		t.Run(string(name), func(t *testing.T) {
			e := newEnv(t, testdb.New(t, name), contactsDef, emailColumn, create)
			e.exec(t, `INSERT INTO contacts (id, person, email, seen) VALUES ('1', 'p1', 'ann@b.example', 1)`)
			all, err := e.a.Obstacles(t.Context(), tenant)
			require.NoError(t, err)
			for _, one := range all { // the word stands in a text of one
				require.Equal(t, "LoseChecks", one.Option, "%s", one)
			}
			require.Len(t, all, map[testdb.Name]int{testdb.SQLite: 1}[name])
		})
	}
}

// A domain that refuses NULL, or that checks what will be sealed, is seen too.
func TestDomainsAreChecked(t *testing.T) {
	e := newEnv(t, testdb.New(t, testdb.PostgresC), contactsDef, emailColumn, strings.Replace(contactsSQL, "VARCHAR(200)", "text", 1))
	e.exec(t, `CREATE DOMAIN address AS varchar(100)`)
	e.exec(t, `CREATE DOMAIN mail AS address`)
	e.exec(t, `ALTER TABLE contacts ALTER COLUMN email TYPE mail`)
	e.old(t, "1", "p1", "ann@b.example")
	e.to(t, adoption.ReadSealed)
	require.True(t, e.backfill(t).Clean)
	for _, one := range []struct{ add, drop string }{
		{`ALTER DOMAIN address ADD CONSTRAINT wants CHECK (VALUE IS NOT NULL)`, `ALTER DOMAIN address DROP CONSTRAINT wants`},
		{`ALTER DOMAIN mail SET NOT NULL`, `ALTER DOMAIN mail DROP NOT NULL`},
	} {
		e.exec(t, one.add)
		detail := e.refused(t, adoption.SealedOnly, gone)
		require.Equal(t, []string{`ALTER TABLE "contacts" ALTER COLUMN "email" TYPE character varying(100)`}, detail.SQL)
		restore, err := e.a.RestoreSQL(t.Context(), tenant)
		require.NoError(t, err)
		require.Equal(t, []string{`ALTER TABLE "contacts" ALTER COLUMN "email" TYPE mail`}, restore)
		e.exec(t, one.drop)
	}
	e.exec(t, `ALTER DOMAIN address ADD CHECK (VALUE LIKE '%@%')`)
	require.Contains(t, e.refused(t, adoption.SealedOnly, gone).Why, "the CHECK of mail")
	e.move(t, adoption.SealedOnly, adoption.MoveOptions{OldReleaseGone: true, LoseChecks: true})
}

// What no CHECK says, a trigger may: a few rows are written as they will be, and
// nothing of that stays.
func TestATriggerThatWantsTheValueIsFound(t *testing.T) {
	eachSchema(t, func(t *testing.T, d testdb.Database) {
		e := newEnv(t, d, contactsDef, emailColumn, contactsSQL)
		e.old(t, "1", "p1", "ann@b.example")
		e.exec(t, `CREATE TABLE log (what VARCHAR(40))`)
		switch d.Name {
		case testdb.PostgresC, testdb.PostgresICU:
			e.exec(t, `CREATE FUNCTION wants() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO log VALUES ('changed'); IF NEW.email IS NULL THEN RAISE EXCEPTION 'wants it'; END IF; RETURN NULL; END $$`)
			e.exec(t, `CREATE CONSTRAINT TRIGGER wants AFTER UPDATE ON contacts DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION wants()`)
		case testdb.MariaDB:
			e.exec(t, `CREATE TRIGGER wants BEFORE UPDATE ON contacts FOR EACH ROW BEGIN INSERT INTO log VALUES ('changed'); IF NEW.email IS NULL THEN SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'wants it'; END IF; END`)
		case testdb.SQLite:
			e.exec(t, `CREATE TRIGGER wants AFTER UPDATE ON contacts BEGIN INSERT INTO log VALUES ('changed'); SELECT RAISE(ABORT, 'wants it') WHERE NEW.email IS NULL; END`)
		}
		found := func(all []adoption.Obstacle) {
			t.Helper()
			require.Len(t, all, 1, "%v", all)
			require.Contains(t, all[0].Why, "nothing stands in the clear")
			require.Equal(t, "1", all[0].Listed[0].Row)
		}
		all, err := e.a.Obstacles(t.Context(), tenant)
		require.NoError(t, err)
		found(all)
		e.to(t, adoption.ReadSealed)
		require.True(t, e.backfill(t).Clean)
		e.exec(t, `DELETE FROM log`)
		found(e.refused(t, adoption.SealedOnly, gone).Obstacles)
		var n int
		require.NoError(t, e.db.QueryRowContext(t.Context(), `SELECT COUNT(*) FROM log`).Scan(&n))
		require.Zero(t, n)
		require.Equal(t, 1, e.count(t, `email = 'ann@b.example' AND email_sealed IS NOT NULL`))
	})
}

// A generated column, and one that others are computed from, is refused by name
// before any statement is handed out; so is one of another type.
func TestGeneratedColumnsAreRefused(t *testing.T) {
	eachSchema(t, func(t *testing.T, d testdb.Database) {
		for _, one := range []struct{ columns, says string }{
			{`other VARCHAR(200), email VARCHAR(200) GENERATED ALWAYS AS (lower(other)) STORED`, "is GENERATED"},
			{`email VARCHAR(200), tall INTEGER GENERATED ALWAYS AS (seen + 1) STORED, folded VARCHAR(200) GENERATED ALWAYS AS (lower(email)) STORED`, "GENERATED column folded"},
			{`email INTEGER`, "is no text"},
			{`email VARCHAR(200), tall INTEGER GENERATED ALWAYS AS (seen + 1) STORED`, ""},
		} {
			if one.says == "is no text" && d.Name == testdb.SQLite { // each value has a class of its own there
				continue
			}
			e := newEnv(t, testdb.New(t, d.Name), contactsDef, emailColumn, strings.Replace(contactsSQL, `email VARCHAR(200)`, one.columns, 1))
			statements, err := e.a.SQL(t.Context())
			if one.says == "" {
				require.NoError(t, err)
				continue
			}
			require.Empty(t, statements)
			for _, err := range []error{err, e.a.Check(t.Context(), tenant), e.a.Move(t.Context(), tenant, adoption.WriteBoth, adoption.MoveOptions{})} {
				var detail *adoption.ColumnError
				require.ErrorAs(t, err, &detail)
				require.ErrorIs(t, err, adoption.ErrDefinition)
				require.Equal(t, "email", detail.Column)
				require.Contains(t, detail.Why, one.says)
			}
			all, err := e.a.Obstacles(t.Context(), tenant)
			require.NoError(t, err)
			require.Len(t, all, 1)
			require.Contains(t, all[0].Why, one.says)
		}
	})
}

// A table that rolls nothing back is refused: jobs take back what it does not keep.
func TestATableThatRollsNothingBackIsRefused(t *testing.T) {
	e := newEnv(t, testdb.New(t, testdb.MariaDB), contactsDef, emailColumn, contactsSQL+` ENGINE = MyISAM`)
	_, err := e.a.SQL(t.Context())
	require.ErrorIs(t, err, adoption.ErrDefinition)
	require.ErrorContains(t, err, "MyISAM")
}

// On MariaDB a column is said again to let it be NULL: everything that it has stays,
// and RestoreSQL knows all that was asked for, as it was before the first refusal.
func TestAColumnKeepsWhatItHas(t *testing.T) {
	def := encryption.Table{Name: "contacts", Columns: []encryption.Column{{Name: "email", SQL: "email_sealed", Find: encryption.Email}, {Name: "phone", SQL: "phone_sealed"}}}
	cols := []adoption.Column{{Name: "email", Plain: "email"}, {Name: "phone", Plain: "phone"}}
	for name, types := range map[testdb.Name][2]string{
		testdb.MariaDB:   {"VARCHAR(200) CHARACTER SET latin1 COLLATE latin1_german2_ci NOT NULL DEFAULT 'NOT NULL' COMMENT 'it''s NOT NULL, CHECK (1)' CHECK (`email` <> '')", "TEXT NOT NULL DEFAULT 'none'"},
		testdb.PostgresC: {`VARCHAR(200) NOT NULL DEFAULT 'NOT NULL'`, `TEXT NOT NULL DEFAULT 'none'`},
	} {
		t.Run(string(name), func(t *testing.T) {
			create := strings.Replace(contactsSQL, "email VARCHAR(200)", "email "+types[0]+", phone "+types[1], 1)
			e := newEnv(t, testdb.New(t, name), def, cols, create)
			describe := func() (text string) {
				t.Helper()
				query := `SELECT string_agg(concat(column_name, is_nullable, column_default), ' ' ORDER BY column_name) FROM information_schema.columns WHERE table_name = 'contacts' AND table_schema = current_schema()`
				if name == testdb.MariaDB {
					query = `SELECT GROUP_CONCAT(CONCAT_WS(' ', COLUMN_NAME, COLUMN_TYPE, IS_NULLABLE, COLUMN_DEFAULT, COLLATION_NAME, COLUMN_COMMENT, (SELECT CHECK_CLAUSE FROM information_schema.CHECK_CONSTRAINTS c WHERE c.CONSTRAINT_SCHEMA = DATABASE() AND c.CONSTRAINT_NAME = COLUMN_NAME)) ORDER BY COLUMN_NAME)
						FROM information_schema.COLUMNS WHERE TABLE_NAME = 'contacts' AND TABLE_SCHEMA = DATABASE()`
				}
				require.NoError(t, e.db.QueryRowContext(t.Context(), query).Scan(&text))
				return text
			}
			e.exec(t, `INSERT INTO contacts (id, person, email, phone) VALUES ('1', 'p1', 'ann@b.example', '1')`)
			e.to(t, adoption.ReadSealed)
			require.True(t, e.backfill(t).Clean)
			before := describe()
			e.exec(t, e.refused(t, adoption.SealedOnly, adoption.MoveOptions{OldReleaseGone: true, LoseChecks: true}).SQL[0])
			require.NotEqual(t, before, describe())
			require.Equal(t, len(before)+len("YES")-len("NO"), len(describe()), "%s", describe())
			for _, statement := range e.refused(t, adoption.SealedOnly, adoption.MoveOptions{OldReleaseGone: true, LoseChecks: true}).SQL { // defaults, too
				e.exec(t, statement)
			}
			e.move(t, adoption.SealedOnly, adoption.MoveOptions{OldReleaseGone: true, LoseChecks: true})
			restore, err := e.a.RestoreSQL(t.Context(), tenant)
			require.NoError(t, err)
			require.Len(t, restore, 4)
			for _, statement := range restore {
				e.exec(t, statement)
			}
			require.Equal(t, before, describe())
		})
	}
}

// A sealed column that is just as long as its longest value has to be is long enough:
// what is tried before SealedOnly is no longer than what stands there.
func TestASealedColumnThatIsJustLongEnoughIsLongEnough(t *testing.T) {
	for name, types := range map[testdb.Name][2]string{
		testdb.MariaDB:   {"VARBINARY(233)", "VARCHAR(324) CHARACTER SET ascii COLLATE ascii_bin"},
		testdb.PostgresC: {"bytea CHECK (octet_length(email_sealed) <= 233)", `VARCHAR(324) COLLATE "C"`},
		testdb.SQLite:    {"BLOB CHECK (length(email_sealed) <= 233)", "TEXT CHECK (length(email_sealed) <= 324)"},
	} {
		for i, typ := range types {
			t.Run(string(name)+" "+typ, func(t *testing.T) {
				def := contactsDef
				def.Columns = []encryption.Column{contactsDef.Columns[0]}
				def.Columns[0].Text = i == 1
				e := newEnv(t, testdb.New(t, name), def, emailColumn, strings.Replace(contactsSQL, "seen", "email_sealed "+typ+", seen", 1))
				email := strings.Repeat("a", 190) + "@b.example"
				e.old(t, "1", "p1", email)
				e.to(t, adoption.ReadSealed)
				require.True(t, e.backfill(t).Clean)
				query := `SELECT length(email_sealed) FROM contacts`
				var n int
				require.NoError(t, e.db.QueryRowContext(t.Context(), query).Scan(&n))
				require.Equal(t, []int{233, 324}[i], n, "as long as it may be")
				e.move(t, adoption.SealedOnly, gone)
				require.Equal(t, map[string]string{"1": email}, e.read(t, e.a))
			})
		}
	}
}
