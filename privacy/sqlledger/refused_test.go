package sqlledger_test

import (
	"io/fs"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/internal/testdb"
	"github.com/crmguard/crmguard/privacy/erasurelog"
	"github.com/crmguard/crmguard/privacy/sqlledger"
)

// What is no end of the ledger is appended to by nobody, and a line behind which
// one is missing is no place to read from.
func TestPlacesThatAreNoEnd(t *testing.T) {
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		db := d.Open(t)
		require.NoError(t, sqlledger.Install(t.Context(), db))
		l, err := sqlledger.Open(t.Context(), db)
		require.NoError(t, err)
		at := func(n int64) erasurelog.Position { return erasurelog.Position{N: n} }
		require.ErrorIs(t, l.Append(t.Context(), at(0), nil, []byte("one")), fs.ErrNotExist, "there is no ledger")
		require.NoError(t, l.Create(t.Context()))
		require.ErrorIs(t, l.Create(t.Context()), fs.ErrExist)
		require.ErrorIs(t, l.Append(t.Context(), at(5), nil, []byte("six")), erasurelog.ErrMoved, "there is no line 5")
		last := ""
		for n, line := range []string{"one", "two", "three", "four"} {
			require.NoError(t, l.Append(t.Context(), at(int64(n)), []byte(last), []byte(line)))
			last = line
		}
		_, err = db.ExecContext(t.Context(), `DELETE FROM crmguard_ledger_line WHERE n = 2`)
		require.NoError(t, err)
		for line, err := range l.Read(t.Context(), at(2)) {
			require.Fail(t, "a line behind one that is gone", "%s %v", line, err)
		}
	})
}

// A line that the database refuses for another reason has not come too late: whoever
// reads and decides again would do so for ever.
func TestALineThatIsRefused(t *testing.T) {
	db := testdb.New(t, testdb.SQLite).Open(t)
	require.NoError(t, sqlledger.Install(t.Context(), db))
	_, err := db.ExecContext(t.Context(), `CREATE TRIGGER never BEFORE INSERT ON crmguard_ledger_line BEGIN SELECT RAISE(ABORT, 'never'); END`)
	require.NoError(t, err)
	l, err := sqlledger.Open(t.Context(), db)
	require.NoError(t, err)
	err = l.Create(t.Context())
	require.Error(t, err)
	require.NotErrorIs(t, err, fs.ErrExist)
	_, err = db.ExecContext(t.Context(), `DROP TRIGGER never`)
	require.NoError(t, err)
	require.NoError(t, l.Create(t.Context()))
	_, err = db.ExecContext(t.Context(), `CREATE TRIGGER never BEFORE INSERT ON crmguard_ledger_line BEGIN SELECT RAISE(ABORT, 'never'); END`)
	require.NoError(t, err)
	err = l.Append(t.Context(), erasurelog.Position{}, nil, []byte("one"))
	require.Error(t, err)
	require.NotErrorIs(t, err, erasurelog.ErrMoved)
}
