package encryption_test

import (
	"fmt"
	"testing"

	"github.com/jackc/pgx/v5/stdlib"
	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/internal/testdb"
)

// pgx without database/sql writes and reads sealed columns of both forms, and NULL.
// It hands over bytes of its own buffer, which it fills again with the next rows.
func TestPgxItselfWritesAndReadsSealedColumns(t *testing.T) {
	e := newEnv(t, 1)
	db := testdb.New(t, testdb.PostgresICU).OpenWith(t, "pgx")
	conn, err := db.Conn(t.Context())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, conn.Close()) })
	const rows = 200
	require.NoError(t, conn.Raw(func(driver any) error {
		pg := driver.(*stdlib.Conn).Conn()
		_, err := pg.Exec(t.Context(), `CREATE TABLE contacts (id text PRIMARY KEY, person text NOT NULL, email bytea, note bytea, phone text, email_idx bigint)`)
		require.NoError(t, err)
		tx, err := pg.Begin(t.Context())
		require.NoError(t, err)
		for i := range rows {
			id, person := fmt.Sprintf("c%03d", i), fmt.Sprintf("p%d", i%3)
			w, err := e.contacts.Writer(t.Context(), tenant, person)
			require.NoError(t, err)
			w, err = w.Row(id)
			require.NoError(t, err)
			email := w.Text("email", "mail of "+id)
			if i == 7 {
				email = w.Bytes("email", nil)
			}
			_, err = tx.Exec(t.Context(), `INSERT INTO contacts (id, person, email, note, phone, email_idx) VALUES ($1, $2, $3, $4, $5, $6)`,
				id, person, email, w.Text("note", "note of "+id), w.Text("phone", "phone of "+id), w.Int64("email_idx", id+"@b.example"))
			require.NoError(t, err)
		}
		require.NoError(t, tx.Commit(t.Context()))

		found, err := pg.Query(t.Context(), `SELECT id, person, email, note, phone, email FROM contacts ORDER BY id`)
		require.NoError(t, err)
		type contact struct {
			id, person         string
			email, note, phone encryption.Sealed
			again              *encryption.Sealed
		}
		var page []contact
		for found.Next() {
			var c contact
			require.NoError(t, found.Scan(&c.id, &c.person, &c.email, &c.note, &c.phone, &c.again))
			page = append(page, c)
		}
		require.NoError(t, found.Err())
		require.Len(t, page, rows)
		for i, c := range page {
			row, err := e.contacts.Row(t.Context(), tenant, c.person, c.id)
			require.NoError(t, err)
			for column, sealed := range map[string]encryption.Sealed{"email": c.email, "note": c.note, "phone": c.phone} {
				want, null := column+" of "+c.id, column == "email" && i == 7
				if column == "email" {
					want = "mail of " + c.id
				}
				require.Equal(t, null, sealed.IsNull())
				text, err := row.Text(t.Context(), column, sealed.Bytes())
				require.NoError(t, err)
				if !null {
					require.Equal(t, want, text)
				}
			}
			require.Equal(t, i == 7, c.again == nil)
			if c.again != nil {
				require.Equal(t, c.email.Bytes(), c.again.Bytes())
			}
			stored, err := c.phone.Value()
			require.NoError(t, err)
			require.IsType(t, "", stored, "what was read as text is written as text")
		}
		return nil
	}))
}

// A value that is there already is replaced, also by NULL.
func TestScannedBytesReplaceWhatWasThere(t *testing.T) {
	e := newEnv(t, 1)
	w, err := e.contacts.Writer(t.Context(), tenant, "p1")
	require.NoError(t, err)
	email, phone := w.Text("email", "ann"), w.Text("phone", "+49")
	text, err := phone.Value()
	require.NoError(t, err)
	var s encryption.Sealed
	for range 2 {
		buffer := append([]byte(nil), email.Bytes()...)
		require.NoError(t, s.ScanBytes(buffer))
		clear(buffer)
		require.Equal(t, email, s)
		require.NoError(t, s.ScanBytes([]byte(text.(string))))
		require.Equal(t, phone, s)
		require.NoError(t, s.ScanBytes(nil))
		require.True(t, s.IsNull())
		require.NoError(t, s.ScanBytes([]byte{}))
		require.False(t, s.IsNull())
		require.ErrorIs(t, s.ScanBytes([]byte("cg1.!")), encryption.ErrOpen)
	}
}
