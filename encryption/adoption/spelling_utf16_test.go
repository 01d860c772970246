package adoption_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/encryption/adoption"
	"github.com/crmguard/crmguard/internal/testdb"
)

// A file of SQLite may keep its texts in UTF-16: spellings are found there as well,
// over more than one page of groups, and the way to the end is the same.
func TestAFileInUTF16IsAdoptedAsAnyOther(t *testing.T) {
	d := testdb.New(t, testdb.SQLite)
	db := d.Open(t)
	db.SetMaxOpenConns(1)
	for _, statement := range []string{`PRAGMA encoding = 'UTF-16le'`, `CREATE TABLE first (x)`} {
		_, err := db.ExecContext(t.Context(), statement)
		require.NoError(t, err)
	}
	var encoding string
	require.NoError(t, db.QueryRowContext(t.Context(), `PRAGMA encoding`).Scan(&encoding))
	require.Equal(t, "UTF-16le", encoding)
	def := encryption.Table{Name: "contacts", Columns: []encryption.Column{{Name: "email", SQL: "email_sealed", Find: encryption.Exact}}}
	e := newEnvOn(t, d.Name, db, def, emailColumn, strings.Replace(contactsSQL, "email VARCHAR(200)", "email VARCHAR(200) COLLATE NOCASE", 1))
	for i := range 250 { // a page has 200 groups
		e.old(t, fmt.Sprint(i), "p1", fmt.Sprintf("änn%d@b.example", i))
		e.old(t, fmt.Sprint("x", i), "p1", fmt.Sprintf("äNN%d@b.example", i))
	}
	all, err := e.a.Obstacles(t.Context(), tenant)
	require.NoError(t, err)
	require.Len(t, all, 1)
	require.EqualValues(t, 250, all[0].Rows)

	e.exec(t, `DELETE FROM contacts WHERE id > '3'`)
	e.exec(t, `DELETE FROM contacts WHERE id LIKE 'x%'`)
	e.to(t, adoption.SealedOnly)
	require.True(t, e.clear(t).Clean)
	require.Equal(t, []string{"2"}, e.find(t, e.a, "änn2@b.example"))
}
