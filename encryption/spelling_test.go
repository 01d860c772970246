package encryption_test

import (
	"bytes"
	"context"
	"database/sql"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/encryption/jobs"
	"github.com/crmguard/crmguard/encryption/keycopy"
	"github.com/crmguard/crmguard/encryption/streams"
	"github.com/crmguard/crmguard/internal/sqldb"
	"github.com/crmguard/crmguard/internal/testdb"
)

const (
	uuidSmall  = "ab000000-0000-4000-8000-00000000000a"
	uuidSecond = "cd000000-0000-4000-8000-00000000000b"
)

// ownersIn are the ids that the key store has rows of.
func (e *env) ownersIn(tb testing.TB) (out []string) {
	tb.Helper()
	rows, err := e.keysDB.QueryContext(tb.Context(), `SELECT owner FROM crmguard_encryption_owner WHERE tenant = ? AND owner <> 't:' ORDER BY owner`, tenant)
	require.NoError(tb, err)
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var owner string
		require.NoError(tb, rows.Scan(&owner))
		out = append(out, owner)
	}
	require.NoError(tb, rows.Err())
	return out
}

// Whatever was sealed for a UUID in one spelling opens in the other one, under one
// key, whoever asks: a column of the type UUID changes the letters in between.
func TestAUUIDIsOneIDInSmallLettersAndInCapitals(t *testing.T) {
	for _, wrote := range []string{uuidSmall, strings.ToUpper(uuidSmall), "Ab" + uuidSmall[2:]} {
		for _, asks := range []string{uuidSmall, strings.ToUpper(uuidSmall)} {
			e := newEnv(t, 1)
			ctx := t.Context()
			require.NoError(t, e.vault.Ensure(ctx, tenant, wrote))
			w, err := e.contacts.Writer(ctx, tenant, wrote)
			require.NoError(t, err)
			w, err = w.Row(wrote)
			require.NoError(t, err)
			email, err := w.Seal("email", []byte("a@b.example"))
			require.NoError(t, err)
			note, err := w.Seal("note", []byte("bound to its row"))
			require.NoError(t, err)
			row, err := e.contacts.Row(ctx, tenant, asks, asks)
			require.NoError(t, err)
			for column, cell := range map[string][]byte{"email": email, "note": note} {
				_, err := row.Open(ctx, column, cell)
				require.NoError(t, err, column)
			}
			writers, err := e.contacts.Writers(ctx, tenant, asks, "p1")
			require.NoError(t, err)
			require.NotNil(t, writers[0])
			page, err := e.contacts.PageReader(ctx, tenant, asks, wrote)
			require.NoError(t, err)
			_, err = page.Row(wrote, asks).Open(ctx, "note", note)
			require.NoError(t, err)

			sealer := e.vault.PersonSealer("journal")
			require.NoError(t, sealer.Ensure(ctx, tenant, wrote))
			sealed, err := sealer.Seal(ctx, tenant, wrote, []byte("an entry"), []byte("ad"))
			require.NoError(t, err)
			_, err = sealer.Open(ctx, tenant, asks, sealed, []byte("ad"))
			require.NoError(t, err)

			files := e.table(t, e.vault, encryption.Table{Name: "files", Columns: []encryption.Column{{Name: "content", Stream: true}}})
			ref := func(id string) streams.Ref {
				return streams.Ref{Tenant: tenant, Owner: id, Column: "content", Row: id}
			}
			var stream bytes.Buffer
			require.NoError(t, files.SealStream(ctx, &stream, ref(wrote), "name", 1, strings.NewReader("x")))
			_, err = files.OpenStream(ctx, &stream, ref(asks))
			require.NoError(t, err)

			one, err := e.vault.WrappedKeys(ctx, tenant, asks)
			require.NoError(t, err)
			require.Len(t, one, 1)
			require.Equal(t, []string{uuidSmall, "p1"}, e.ownersIn(t))

			// A new key version: what other packages hold is resealed under either name.
			_, err = e.vault.NewKeyVersion(ctx, tenant)
			require.NoError(t, err)
			sealed, changed, err := sealer.Reseal(ctx, tenant, asks, sealed, []byte("ad"))
			require.NoError(t, err)
			require.True(t, changed)
			_, err = sealer.Open(ctx, tenant, wrote, sealed, []byte("ad"))
			require.NoError(t, err)

			receipt, err := e.vault.Erase(ctx, tenant, asks)
			require.NoError(t, err)
			require.Equal(t, []int{1, 2}, []int{receipt.Owners, receipt.Keys})
			for _, id := range []string{uuidSmall, strings.ToUpper(uuidSmall), wrote} {
				_, err := e.contacts.Writer(ctx, tenant, id)
				require.ErrorIs(t, err, encryption.ErrErased, id)
				_, err = sealer.Open(ctx, tenant, id, sealed, []byte("ad"))
				require.ErrorIs(t, err, encryption.ErrErased, id)
			}
		}
	}
}

// A merge is one whichever spelling names its ends, and its list serves columns of
// text, which hold either.
func TestAMergeOfUUIDsIsOneHoweverTheyAreSpelt(t *testing.T) {
	e := newEnv(t, 1)
	ctx, capitals := t.Context(), strings.ToUpper(uuidSmall)
	require.ErrorIs(t, e.vault.AddAlias(ctx, tenant, uuidSmall, capitals), encryption.ErrID, "the same person")
	require.NoError(t, e.vault.AddAlias(ctx, tenant, capitals, strings.ToUpper(uuidSecond)))
	require.NoError(t, e.vault.AddAlias(ctx, tenant, uuidSmall, uuidSecond))
	_, err := e.contacts.Writer(ctx, tenant, uuidSmall)
	require.ErrorIs(t, err, encryption.ErrMerged)
	require.NoError(t, e.vault.Unmerge(ctx, tenant, uuidSmall, uuidSecond))
	_, err = e.contacts.Writer(ctx, tenant, capitals)
	require.NoError(t, err)
	require.NoError(t, e.vault.AddAlias(ctx, tenant, capitals, uuidSecond))
	for _, named := range []string{uuidSmall, capitals} {
		others, err := e.vault.Aliases(ctx, tenant, named)
		require.NoError(t, err)
		want := []string{strings.ToUpper(uuidSecond), uuidSecond, uuidSmall}
		if named == uuidSmall {
			want = []string{capitals, strings.ToUpper(uuidSecond), uuidSecond}
		}
		require.ElementsMatch(t, want, others)
	}
	receipts, err := e.vault.EraseMany(ctx, tenant, capitals, "never-heard-of", uuidSmall)
	require.NoError(t, err)
	require.Equal(t, []int{2, 1, 2}, []int{receipts[0].Owners, receipts[1].Owners, receipts[2].Owners})
	require.Equal(t, []bool{false, true, false}, []bool{receipts[0].Unknown, receipts[1].Unknown, receipts[2].Unknown})
	require.Equal(t, []string{uuidSmall, uuidSecond, "never-heard-of"}, e.ownersIn(t))
	again, err := e.vault.Erase(ctx, tenant, "never-heard-of")
	require.NoError(t, err)
	require.False(t, again.Unknown, "its tombstone is there")
}

// Who was erased after a failover under one spelling is not brought back from the
// memory of a process that sealed under the other one.
func TestMemoryBringsNobodyBackWhoWasErasedUnderAnotherSpelling(t *testing.T) {
	for _, sealed := range []string{uuidSmall, strings.ToUpper(uuidSmall)} {
		for _, erased := range []string{uuidSmall, strings.ToUpper(uuidSmall)} {
			l := newLossy(t)
			l.keepStandby(t)
			l.seal(t, sealed, "p1")
			l.fail(t)
			_, err := l.over(t, l.standby).Erase(t.Context(), tenant, erased)
			require.NoError(t, err)
			report, err := l.vault.RepairFromCaches(t.Context())
			require.NoError(t, err)
			require.Equal(t, keycopy.RepairReport{Owners: 1, Keys: 1, Fenced: 1}, report, "p1")
			require.ErrorIs(t, l.open(t, l.over(t, l.standby), sealed), encryption.ErrErased)
		}
	}
}

// A row that an application wrote under a UUID in capitals opens under what its
// columns give back, is resealed and cleared, on every database; a column of text
// keeps the letters that it has.
func TestRowsOfUUIDsInCapitalsAreRead(t *testing.T) {
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		db := d.Open(t)
		dialect, err := sqldb.Ask(t.Context(), db)
		require.NoError(t, err)
		kinds := []string{"UUID", "VARCHAR(60)"}
		if dialect.Kind == sqldb.SQLite {
			kinds = []string{"TEXT"}
		}
		for _, kind := range kinds {
			t.Run(kind, func(t *testing.T) { requireRowsOfUUIDs(t, db, dialect, kind) })
		}
	})
}

func requireRowsOfUUIDs(t *testing.T, db *sql.DB, d sqldb.Dialect, kind string) {
	t.Helper()
	e, ctx := newEnv(t, 1), t.Context()
	raw := map[bool]string{true: "BYTEA", false: "BLOB"}[d.Kind == sqldb.Postgres]
	exec := func(query string, args ...any) {
		t.Helper()
		_, err := db.ExecContext(ctx, d.Bind(query), args...)
		require.NoError(t, err)
	}
	name := "spelt_" + strings.ToLower(kind[:4])
	exec(`CREATE TABLE ` + name + ` (id ` + kind + ` NOT NULL PRIMARY KEY, person ` + kind + ` NOT NULL, email ` + raw + `, email_x BIGINT)`)
	table := e.table(t, e.vault, encryption.Table{Name: "spelt", SQL: name, Level: encryption.LevelRow, Columns: []encryption.Column{
		{Name: "email", Index: []encryption.Index{{Column: "email_x", As: encryption.Email, Bits: 32}}},
	}})
	capitals := strings.ToUpper(uuidSmall)
	for _, id := range []string{strings.ToUpper(uuidSecond), "ef" + uuidSmall[2:]} {
		w, err := table.Writer(ctx, tenant, capitals)
		require.NoError(t, err)
		w, err = w.Row(id)
		require.NoError(t, err)
		exec(`INSERT INTO `+name+` VALUES (?, ?, ?, ?)`, id, capitals, w.Text("email", "a@b.example"), w.Int64("email_x", "a@b.example"))
	}
	read := func() (persons []string) {
		t.Helper()
		rows, err := db.QueryContext(ctx, `SELECT id, person, email FROM `+name+` WHERE email IS NOT NULL`)
		require.NoError(t, err)
		defer func() { _ = rows.Close() }()
		for rows.Next() {
			var id, person string
			var email encryption.Sealed
			require.NoError(t, rows.Scan(&id, &person, &email))
			row, err := table.Row(context.WithoutCancel(ctx), tenant, person, id)
			require.NoError(t, err)
			value, err := row.Text(ctx, "email", email.Bytes())
			require.NoError(t, err)
			require.Equal(t, "a@b.example", value)
			persons = append(persons, person)
		}
		require.NoError(t, rows.Err())
		return persons
	}
	stored := func(id string) string {
		if kind != "UUID" {
			return strings.ToUpper(id)
		}
		return id
	}
	require.Equal(t, []string{stored(uuidSmall), stored(uuidSmall)}, read())
	require.NoError(t, table.RebuildIndexes(db, tenant)(ctx))
	_, err := e.vault.NewKeyVersion(ctx, tenant)
	require.NoError(t, err)
	report, err := table.Reseal(ctx, db, tenant, jobs.ResealOptions{})
	require.NoError(t, err)
	require.Equal(t, []int{2, 0}, []int{report.Cells, report.Unreadable})
	require.Equal(t, []string{stored(uuidSmall), stored(uuidSmall)}, read())

	// Rows that go over to another person keep to the letters of their column.
	require.NoError(t, e.vault.AddAlias(ctx, tenant, uuidSmall, uuidSecond))
	report, err = table.Reseal(ctx, db, tenant, jobs.ResealOptions{})
	require.NoError(t, err)
	require.Equal(t, []int{2, 0}, []int{report.Moved, report.Unreadable})
	require.Equal(t, []string{stored(uuidSecond), stored(uuidSecond)}, read())

	require.NoError(t, table.ClearRows(db)(ctx, tenant, uuidSmall), "another person")
	require.Len(t, read(), 2)
	require.NoError(t, table.ClearRows(db)(ctx, tenant, "Cd"+uuidSecond[2:]))
	require.Empty(t, read())
}

// Whoever had an address for an id, before that was refused, is erased with many
// as alone.
func TestManyAreErasedWhateverTheirIDs(t *testing.T) {
	e := newEnv(t, 1)
	e.insert(t, "c1", "p1")
	receipts, err := e.vault.EraseMany(t.Context(), tenant, "ann@b.example", "p1")
	require.NoError(t, err)
	require.Equal(t, 1, receipts[1].Keys)
	_, err = e.vault.EraseMany(t.Context(), tenant, "p1", "t:")
	require.ErrorIs(t, err, encryption.ErrID)
}
