package encryption_test

import (
	"database/sql"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/encryption/jobs"
	"github.com/crmguard/crmguard/internal/testdb"
)

// A vault whose tables stand in two databases: each is searched for what it has, and
// says which tables it has not. A table that is there without its column is no table
// of another database.
func TestATableOfAnotherDatabaseIsNamedAndNotPassedOver(t *testing.T) {
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		s := newTwo(t, d)
		other := testdb.New(t, d.Name).Open(t)
		columns := []encryption.Column{{Name: "mail", Index: []encryption.Index{
			{Column: "mail_idx", As: encryption.Email, Bits: 32}, {Column: "mail_unique", As: encryption.Email, Bits: 128},
		}}}
		cell := bytesOf(d.Name)
		index := map[bool]string{true: "VARBINARY(16)", false: cell}[d.Name == testdb.MariaDB]
		of := map[string]*sql.DB{"people": s.db, "signups": other, "visits": other}
		tables := map[string]*encryption.SealedTable{}
		for name := range of {
			var err error
			tables[name], err = s.a.Table(encryption.Table{Name: name, Columns: columns})
			require.NoError(t, err)
		}
		for name, db := range of {
			s.exec(t, db, `CREATE TABLE `+name+` (id VARCHAR(40) NOT NULL PRIMARY KEY, person VARCHAR(40) NOT NULL, mail `+cell+`, mail_idx BIGINT, mail_unique `+index+`)`)
			w, err := tables[name].Writer(t.Context(), tenant, "p1")
			require.NoError(t, err)
			s.exec(t, db, `INSERT INTO `+name+` VALUES (?, 'p1', ?, ?, ?)`, name+"1", w.Text("mail", "ann@b.example"), w.Int64("mail_idx", "ann@b.example"), w.Index("mail_unique", "ann@b.example"))
		}
		find := func(db *sql.DB, identities map[string][]string) (found []string, err error) {
			for row, fault := range s.a.FindRows(t.Context(), db, tenant, identities) {
				require.NoError(t, err, "an error is the last answer")
				if err = fault; err == nil {
					found = append(found, row.Key)
				}
			}
			return found, err
		}
		hers := map[string][]string{"email": {"Ann@b.example"}}
		for _, c := range []struct {
			db        *sql.DB
			has, lack []string
		}{
			{s.db, []string{"people1", "people1"}, []string{"signups", "visits"}}, // once for each index
			{other, []string{"signups1", "signups1", "visits1", "visits1"}, []string{"people"}},
			{testdb.New(t, testdb.SQLite).Open(t), nil, []string{"people", "signups", "visits"}},
		} {
			found, err := find(c.db, hers)
			require.Equal(t, c.has, found, "%v", err)
			elsewhere, ok := errors.AsType[*jobs.NotSearchedError](err)
			require.True(t, ok, "%v", err)
			require.Equal(t, c.lack, elsewhere.Tables)
			require.ErrorIs(t, err, encryption.ErrDefinition)
			for _, name := range c.lack {
				require.ErrorContains(t, err, "table "+name)
			}
		}
		_, err := find(s.db, map[string][]string{"signups.mail_idx": {"ann@b.example"}})
		require.ErrorAs(t, err, new(*jobs.NotSearchedError))
		found, err := find(s.db, map[string][]string{"people.mail_idx": {"ann@b.example"}})
		require.NoError(t, err)
		require.Equal(t, []string{"people1"}, found)
		for range s.a.FindRows(t.Context(), s.db, tenant, hers) { // whoever has enough is told nothing more
			break
		}

		s.exec(t, other, `ALTER TABLE signups DROP COLUMN mail_unique`)
		_, err = find(other, hers)
		require.ErrorIs(t, err, encryption.ErrDefinition)
		require.ErrorContains(t, err, "no column mail_unique")
		require.False(t, errors.As(err, new(*jobs.NotSearchedError)), "%v", err)
	})
}
