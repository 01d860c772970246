package adoption_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/encryption/adoption"
	"github.com/crmguard/crmguard/internal/testdb"
)

// Everything that is in the way to SealedOnly is said at Plain, at once, before the
// table has a column of the adoption, and nothing is changed by that. What it says is
// all that the moves say: with its remedies the way is free.
func TestAllObstaclesAreSaidAtOnce(t *testing.T) {
	eachSchema(t, func(t *testing.T, d testdb.Database) {
		create := `CREATE TABLE contacts (id VARCHAR(40) NOT NULL PRIMARY KEY, person VARCHAR(40), email VARCHAR(200) NOT NULL UNIQUE, seen INTEGER NOT NULL DEFAULT 0, CONSTRAINT mail CHECK (email LIKE '%@%'))`
		e := newEnv(t, d, contactsDef, emailColumn, create)
		e.old(t, "1", "p1", "ann@b.example")
		all, err := e.a.Obstacles(t.Context(), tenant)
		require.NoError(t, err)
		var said []string
		var fix []string
		for _, one := range all {
			said = append(said, string(one.Before)+": "+one.String())
			fix = append(fix, one.SQL...)
		}
		text := strings.Join(said, "\n")
		for _, want := range []string{
			"write-both: email is UNIQUE in the clear, and no index of at least 128 bits",
			"sealed-only: email is NOT NULL",
			"sealed-only: CHECK mail over email will refuse nothing any more",
		} {
			require.Contains(t, text, want)
		}
		require.Len(t, all, 3, "%s", text)
		require.ErrorIs(t, e.a.Check(t.Context(), tenant), adoption.ErrDefinition, "no column was added")
		require.Equal(t, 1, e.count(t, `email = 'ann@b.example'`))
		if d.Name == testdb.SQLite { // which has no statement for it
			return
		}
		for _, statement := range fix {
			e.exec(t, statement)
		}
		states := adoption.MoveOptions{OldReleaseGone: true, LoseUnique: []string{all[0].Name}, LoseChecks: true}
		e.prepare(t)
		e.move(t, adoption.WriteBoth, states)
		require.True(t, e.backfill(t).Clean)
		e.move(t, adoption.ReadSealed, states)
		require.True(t, e.backfill(t).Clean)
		e.move(t, adoption.SealedOnly, states)
		all, err = e.a.Obstacles(t.Context(), tenant)
		require.NoError(t, err)
		require.Empty(t, all, "the way is gone")
	})
}

// A table without what an adoption needs at all has that one obstacle.
func TestATableThatCannotBeAdoptedHasOneObstacle(t *testing.T) {
	eachSchema(t, func(t *testing.T, d testdb.Database) {
		for _, create := range []string{
			`CREATE TABLE contacts (id VARCHAR(40), person VARCHAR(40), email VARCHAR(200))`,            // no key
			`CREATE TABLE contacts (id VARCHAR(40) NOT NULL PRIMARY KEY, email VARCHAR(200))`,           // no owner
			`CREATE TABLE contacts (id VARCHAR(40) NOT NULL PRIMARY KEY, person VARCHAR(40))`,           // nothing in the clear
			`CREATE TABLE people (id VARCHAR(40) NOT NULL PRIMARY KEY, person VARCHAR(40), email TEXT)`, // another table
		} {
			e := newEnv(t, testdb.New(t, d.Name), contactsDef, emailColumn, create)
			all, err := e.a.Obstacles(t.Context(), tenant)
			require.NoError(t, err)
			require.Len(t, all, 1, create)
			require.Equal(t, adoption.WriteBoth, all[0].Before)
		}
	})
}

// A move says all that it lacks at once, and its error says each remedy.
func TestAMoveSaysAllThatItLacks(t *testing.T) {
	e := newLite(t)
	e.old(t, "1", "p1", "ann@b.example")
	e.to(t, adoption.ReadSealed)
	e.exec(t, `INSERT INTO contacts (id, person, email) VALUES ('2', NULL, 'bob@b.example')`)
	detail := e.refused(t, adoption.SealedOnly, adoption.MoveOptions{})
	require.Len(t, detail.Obstacles, 3)
	for _, want := range []string{"OldReleaseGone", "1 rows stand in the clear only", "Backfill"} {
		require.Contains(t, detail.Error(), want)
	}
	require.EqualValues(t, 1, detail.Rows)
	require.Equal(t, `why, or state LoseUnique "key"`, adoption.Obstacle{Why: "why", Option: "LoseUnique", Name: "key"}.String())
	require.Equal(t, "why, or state LoseChecks", adoption.Obstacle{Why: "why", Option: "LoseChecks"}.String())
}

// A prepared transaction that somebody forgot, of another table of the server, holds
// up neither a move nor the way back.
func TestForgottenTransactionsOfOthersHoldNobodyUp(t *testing.T) {
	e := newEnv(t, testdb.New(t, testdb.MariaDB), contactsDef, emailColumn, contactsSQL)
	e.prepare(t)
	other := testdb.New(t, testdb.MariaDB).Open(t)
	conn, err := other.Conn(t.Context())
	require.NoError(t, err)
	for _, statement := range []string{`CREATE TABLE elsewhere (id INT PRIMARY KEY)`, `XA START 'forgotten'`, `INSERT INTO elsewhere VALUES (1)`, `XA END 'forgotten'`, `XA PREPARE 'forgotten'`} {
		_, err := conn.ExecContext(t.Context(), statement)
		require.NoError(t, err)
	}
	e.move(t, adoption.WriteBoth, adoption.MoveOptions{})
	e.move(t, adoption.Plain, adoption.MoveOptions{})
	_, err = conn.ExecContext(t.Context(), `XA ROLLBACK 'forgotten'`)
	require.NoError(t, err)
	require.NoError(t, conn.Close())
}
