package adoption_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/encryption/adoption"
	"github.com/crmguard/crmguard/internal/testdb"
)

// A trigger that runs behind the guard may change what the guard has seen: the guard
// counts for none until it runs last, and what brings that about is said.
func TestAGuardThatIsOutrunCountsForNone(t *testing.T) {
	for _, name := range []testdb.Name{testdb.PostgresC, testdb.MariaDB} {
		t.Run(string(name), func(t *testing.T) {
			e := newEnv(t, testdb.New(t, name), contactsDef, emailColumn, contactsSQL)
			e.old(t, "1", "p1", "ann@b.example")
			e.to(t, adoption.WriteBoth)
			if name == testdb.MariaDB {
				e.exec(t, "CREATE TRIGGER touch BEFORE UPDATE ON contacts FOR EACH ROW SET NEW.seen = OLD.seen + 1")
				e.exec(t, "CREATE TRIGGER later AFTER UPDATE ON contacts FOR EACH ROW SET @seen = NEW.email")
				have, err := e.a.Guard(t.Context())
				require.NoError(t, err)
				require.Equal(t, adoption.Reset, have, "none of them changes what it looks at")
				e.exec(t, "CREATE TRIGGER sync BEFORE UPDATE ON contacts FOR EACH ROW SET new . `email` = 'seven@b.example'")
			} else {
				e.exec(t, `CREATE FUNCTION sync() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.email := 'seven@b.example'; RETURN NEW; END $$`)
				e.exec(t, `CREATE TRIGGER before BEFORE UPDATE ON contacts FOR EACH ROW WHEN (false) EXECUTE FUNCTION sync()`)
				e.exec(t, `CREATE TRIGGER zzz AFTER UPDATE ON contacts FOR EACH ROW EXECUTE FUNCTION sync()`)
				have, err := e.a.Guard(t.Context())
				require.NoError(t, err)
				require.Equal(t, adoption.Reset, have, "none of them changes what it has seen")
				e.exec(t, `CREATE TRIGGER "übernahme" BEFORE UPDATE ON contacts FOR EACH ROW EXECUTE FUNCTION sync()`)
			}
			have, err := e.a.Guard(t.Context())
			require.NoError(t, err)
			require.Equal(t, adoption.OutrunGuard, have)
			require.Equal(t, encryption.HealthAlarm, e.finding(t, "encryption.adoption.guard").Level)
			require.False(t, e.backfill(t).Clean)
			all, err := e.a.Obstacles(t.Context(), tenant)
			require.NoError(t, err)
			require.Len(t, all, 1)
			require.Contains(t, all[0].Why, map[testdb.Name]string{testdb.MariaDB: "sync", testdb.PostgresC: "übernahme"}[name])
			detail := e.refused(t, adoption.ReadSealed, adoption.MoveOptions{})
			require.Equal(t, all[0].SQL, detail.SQL)
			for _, statement := range detail.SQL {
				e.exec(t, statement)
			}
			have, err = e.a.Guard(t.Context())
			require.NoError(t, err)
			require.Equal(t, adoption.Reset, have)
			require.True(t, e.backfill(t).Clean)
			e.move(t, adoption.ReadSealed, adoption.MoveOptions{})
			e.exec(t, `UPDATE contacts SET seen = 7`)
			require.Equal(t, map[string]string{"1": "seven@b.example"}, e.read(t, e.a))
			require.Equal(t, []string{"1"}, e.find(t, e.a, "seven@b.example"))

			require.True(t, e.backfill(t).Clean)
			e.move(t, adoption.SealedOnly, gone)
			e.guard(t, adoption.Refuse)
			if name == testdb.MariaDB {
				e.exec(t, "CREATE TRIGGER fill BEFORE INSERT ON contacts FOR EACH ROW SET NEW.email = 'filled@b.example'")
			} else {
				e.exec(t, `CREATE TRIGGER zzzz BEFORE INSERT ON contacts FOR EACH ROW EXECUTE FUNCTION sync()`)
			}
			have, err = e.a.Guard(t.Context())
			require.NoError(t, err)
			require.Equal(t, adoption.OutrunGuard, have)
			report, err := e.a.Clear(t.Context(), tenant, adoption.JobOptions{})
			require.NoError(t, err)
			require.False(t, report.Clean)
			require.Contains(t, e.refused(t, adoption.ReadSealed, adoption.MoveOptions{}).Why, "refuse", "it refuses what is written in the clear there")
		})
	}
}

// A session that applies what another server has sent, or restores rows, runs the
// guard too; one that is switched on for others only is another guard.
func TestTheGuardRunsInEverySession(t *testing.T) {
	e := newEnv(t, testdb.New(t, testdb.PostgresC), contactsDef, emailColumn, contactsSQL)
	e.to(t, adoption.ReadSealed)
	e.write(t, e.a, "1", "p1", "ann@b.example")
	replica := func(statement string) {
		t.Helper()
		conn, err := e.db.Conn(t.Context())
		require.NoError(t, err)
		for _, one := range []string{`SET session_replication_role = replica`, statement, `SET session_replication_role = DEFAULT`} {
			_, err := conn.ExecContext(t.Context(), one)
			require.NoError(t, err)
		}
		require.NoError(t, conn.Close())
	}
	replica(`UPDATE contacts SET email = 'new@b.example'`)
	require.Equal(t, 1, e.count(t, `email_sealed IS NULL AND email_sealed_idx IS NULL`))
	require.Equal(t, map[string]string{"1": "new@b.example"}, e.read(t, e.a))
	var trigger string
	require.NoError(t, e.db.QueryRowContext(t.Context(), `SELECT tgname FROM pg_trigger WHERE tgrelid = 'contacts'::regclass`).Scan(&trigger))
	for _, how := range []string{"ENABLE", "ENABLE REPLICA", "DISABLE"} {
		e.exec(t, `ALTER TABLE contacts `+how+` TRIGGER `+trigger)
		have, err := e.a.Guard(t.Context())
		require.NoError(t, err)
		require.Equal(t, adoption.OtherGuard, have, how)
	}
	e.guard(t, adoption.Reset)
}

// MariaDB runs no trigger where a foreign key changes a row: such keys on what a
// sealed value is bound to are named, with the statements that let them refuse, and
// those that bring them back.
func TestCascadesThatNoTriggerSeesAreNamed(t *testing.T) {
	for _, rule := range []string{"ON DELETE SET NULL", "ON DELETE CASCADE ON UPDATE CASCADE", "ON UPDATE SET NULL"} {
		db := testdb.New(t, testdb.MariaDB).Open(t)
		_, err := db.ExecContext(t.Context(), `CREATE TABLE persons (id VARCHAR(40) NOT NULL PRIMARY KEY)`)
		require.NoError(t, err)
		create := strings.TrimSuffix(contactsSQL, ")") + `, boss VARCHAR(40), FOREIGN KEY (boss) REFERENCES persons (id) ON DELETE SET NULL,
			CONSTRAINT whose FOREIGN KEY (person) REFERENCES persons (id) ` + rule + `)`
		e := newEnvOn(t, testdb.MariaDB, db, contactsDef, emailColumn, create)
		e.exec(t, `INSERT INTO persons VALUES ('p1'), ('p2')`)
		e.old(t, "1", "p1", "ann@b.example")
		named := func(all []adoption.Obstacle) {
			t.Helper()
			require.Len(t, all, 1, "%v", all)
			require.Contains(t, all[0].Why, "whose changes person")
			require.Equal(t, "IgnoreCascades", all[0].Option)
		}
		all, err := e.a.Obstacles(t.Context(), tenant)
		require.NoError(t, err)
		named(all)
		e.to(t, adoption.WriteBoth)
		require.True(t, e.backfill(t).Clean)
		detail := e.refused(t, adoption.ReadSealed, gone)
		named(detail.Obstacles)
		e.move(t, adoption.ReadSealed, adoption.MoveOptions{IgnoreCascades: true})
		e.move(t, adoption.WriteBoth, adoption.MoveOptions{})
		for _, statement := range detail.SQL {
			e.exec(t, statement)
		}
		require.True(t, e.backfill(t).Clean)
		e.move(t, adoption.ReadSealed, adoption.MoveOptions{})
		_, err = db.ExecContext(t.Context(), `UPDATE persons SET id = 'p9' WHERE id = 'p1'`)
		require.Error(t, err, "it refuses now")
		restore, err := e.a.RestoreSQL(t.Context(), tenant)
		require.NoError(t, err)
		for _, statement := range restore {
			e.exec(t, statement)
		}
		all, err = e.a.Obstacles(t.Context(), tenant)
		require.NoError(t, err)
		require.Empty(t, all, "behind the move it is not asked again")
		var rules string
		require.NoError(t, db.QueryRowContext(t.Context(), `SELECT CONCAT('ON DELETE ', DELETE_RULE, ' ON UPDATE ', UPDATE_RULE) FROM information_schema.REFERENTIAL_CONSTRAINTS WHERE CONSTRAINT_NAME = 'whose' AND CONSTRAINT_SCHEMA = DATABASE()`).Scan(&rules))
		for part := range strings.SplitSeq(strings.ReplaceAll(rule, " ON UPDATE", "|ON UPDATE"), "|") {
			require.Contains(t, rules, strings.TrimSpace(part))
		}
	}
}

// A trigger that runs behind the guard at INSERT alone is said before SealedOnly, with
// what lets it run before; and where it comes later, Clear says so.
func TestATriggerBehindTheGuardAtInsert(t *testing.T) {
	e := newEnv(t, testdb.New(t, testdb.PostgresC), contactsDef, emailColumn, contactsSQL)
	e.exec(t, `CREATE FUNCTION lowered() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN NEW.email := lower(NEW.email); RETURN NEW; END$$`)
	const behind = `CREATE TRIGGER zzz_lowered BEFORE INSERT ON contacts FOR EACH ROW EXECUTE FUNCTION lowered()`
	e.exec(t, behind)
	e.old(t, "1", "p1", "ann@b.example")
	all, err := e.a.Obstacles(t.Context(), tenant)
	require.NoError(t, err)
	require.Len(t, all, 1)
	require.Equal(t, adoption.SealedOnly, all[0].Before)
	e.forward(t)
	e.exec(t, behind)
	report, err := e.a.Clear(t.Context(), tenant, adoption.JobOptions{})
	require.NoError(t, err)
	require.False(t, report.Clean)
	require.Len(t, report.Listed, 1)
	require.Contains(t, report.Listed[0].Why, `ALTER TRIGGER zzz_lowered ON "contacts" RENAME TO "a_zzz_lowered"`)
}
