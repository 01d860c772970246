package adoption_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/encryption/adoption"
	"github.com/crmguard/crmguard/internal/testdb"
)

// exists asks what the refusal of a row means.
func (e *env) exists(t *testing.T, refused error, column string) {
	t.Helper()
	require.Error(t, refused)
	err := e.a.Exists(t.Context(), refused)
	if column == "" {
		require.NotErrorIs(t, err, encryption.ErrExists)
		require.Equal(t, refused, err)
		return
	}
	require.ErrorIs(t, err, encryption.ErrExists)
	var where *encryption.KeyError
	require.ErrorAs(t, err, &where)
	require.Equal(t, [2]string{"contacts", column}, [2]string{where.Table, where.Column})
	require.NotContains(t, err.Error(), "twin")
}

// A twin is ErrExists at each stage, whatever refuses it and whatever that is called:
// the constraint over the column in the clear, an index over the index column. What
// another column refuses is not.
func TestATwinExistsAtEachStage(t *testing.T) {
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		create := strings.Replace(contactsSQL, "seen INTEGER NOT NULL DEFAULT 0", "seen INTEGER, CONSTRAINT email_sealed_idx UNIQUE (seen), CONSTRAINT nobody_guesses UNIQUE (email)", 1)
		e := newEnv(t, d, uniqueDef, emailColumn, create)
		e.prepare(t)
		require.NoError(t, e.insert(t, "1", "p1", "twin@b.example"))
		e.exec(t, `UPDATE contacts SET seen = 1`)
		for _, stage := range []adoption.Stage{adoption.Plain, adoption.WriteBoth, adoption.ReadSealed, adoption.SealedOnly} {
			switch stage {
			case adoption.Plain:
			case adoption.SealedOnly:
				e.exec(t, `CREATE UNIQUE INDEX early ON contacts (email_unique)`)
				require.True(t, e.backfill(t).Clean)
				e.move(t, stage, gone)
			default:
				e.move(t, stage, adoption.MoveOptions{})
				require.True(t, e.backfill(t).Clean)
			}
			e.exists(t, e.insert(t, "2", "p2", "twin@b.example"), "email")
			e.exists(t, e.insert(t, "1", "p2", "other@b.example"), "")
			_, err := e.db.ExecContext(t.Context(), `INSERT INTO contacts (id, person, seen) VALUES ('3', 'p3', 1)`)
			e.exists(t, err, "")
		}
		e.exec(t, `CREATE TABLE logins (email VARCHAR(40) UNIQUE)`)
		e.exec(t, `INSERT INTO logins VALUES ('twin@b.example')`)
		_, err := e.db.ExecContext(t.Context(), `INSERT INTO logins VALUES ('twin@b.example')`)
		e.exists(t, err, "")
		require.NoError(t, e.a.Exists(t.Context(), nil))
		other := errors.New("another error")
		require.Equal(t, other, e.a.Exists(t.Context(), other))
	})
}

// So it is where the column in the clear is the PRIMARY KEY, where an expression over it
// is unique, beside other columns, and in a partition, whose index has a name of its own.
func TestATwinExistsByWhateverIsUnique(t *testing.T) {
	for _, one := range []struct {
		name   testdb.Name
		unique string
	}{
		{testdb.SQLite, `CREATE UNIQUE INDEX one ON contacts (lower(email))`},
		{testdb.SQLite, `CREATE UNIQUE INDEX one ON contacts (person, email)`},
		{testdb.PostgresC, `CREATE UNIQUE INDEX one ON contacts (lower(email))`},
		{testdb.PostgresC, `CREATE UNIQUE INDEX one ON contacts (person, email)`},
		{testdb.PostgresICU, `ALTER TABLE contacts DROP CONSTRAINT contacts_pkey, ADD UNIQUE (id), ADD PRIMARY KEY (email)`},
		{testdb.MariaDB, `ALTER TABLE contacts DROP PRIMARY KEY, ADD UNIQUE (id), ADD PRIMARY KEY (email)`},
		{testdb.MariaDB, `CREATE UNIQUE INDEX one ON contacts (email(20))`},
	} {
		t.Run(string(one.name)+" "+one.unique, func(t *testing.T) {
			e := newEnv(t, testdb.New(t, one.name), contactsDef, emailColumn, contactsSQL)
			e.exec(t, one.unique)
			e.prepare(t)
			require.NoError(t, e.insert(t, "1", "p1", "twin@b.example"))
			e.exists(t, e.insert(t, "2", "p1", "twin@b.example"), "email")
			e.exists(t, e.insert(t, "1", "p2", "other@b.example"), "")
		})
	}
	t.Run("partition", func(t *testing.T) {
		e := newEnv(t, testdb.New(t, testdb.PostgresC), contactsDef, emailColumn, `CREATE TABLE contacts (id VARCHAR(40), person VARCHAR(40), email VARCHAR(200), PRIMARY KEY (id), UNIQUE (id, email)) PARTITION BY HASH (id)`)
		e.exec(t, `CREATE TABLE part PARTITION OF contacts FOR VALUES WITH (MODULUS 1, REMAINDER 0)`)
		e.exec(t, `ALTER TABLE part DROP CONSTRAINT IF EXISTS one, ADD CONSTRAINT own UNIQUE (email)`)
		e.prepare(t)
		require.NoError(t, e.insert(t, "1", "p1", "twin@b.example"))
		e.exists(t, e.insert(t, "2", "p1", "twin@b.example"), "email")
		e.exists(t, e.insert(t, "1", "p2", "other@b.example"), "")
	})
}

// In a transaction that holds the only connection nothing is waited for: the name says it.
func TestATwinExistsInTheTransactionThatHoldsThePool(t *testing.T) {
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		e := newEnv(t, d, contactsDef, emailColumn, strings.Replace(contactsSQL, "email VARCHAR(200)", "email VARCHAR(200) UNIQUE", 1))
		e.prepare(t)
		e.old(t, "1", "p1", "twin@b.example")
		e.db.SetMaxOpenConns(1)
		tx, err := e.db.BeginTx(t.Context(), nil)
		require.NoError(t, err)
		_, err = tx.ExecContext(t.Context(), `INSERT INTO contacts (id, email) VALUES ('2', 'twin@b.example')`)
		e.exists(t, err, "email")
		require.NoError(t, tx.Rollback())
	})
}
