package encryption_test

import (
	"database/sql"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/encryption/jobs"
	"github.com/crmguard/crmguard/internal/testdb"
)

// One rule says what stands for a key, whatever a driver hands out for it, and no
// two keys of one table have the same text.
func TestTheTextOfARowsKey(t *testing.T) {
	id := uuid.MustParse("8c5f0f7e-0000-4000-8000-00000000000a")
	for _, c := range []struct {
		want string
		key  []any
	}{
		{"c1", []any{"c1"}},
		{"c1", []any{[]byte("c1")}},
		{"a/%", []any{"a/%"}},
		{"-7", []any{int64(-7)}},
		{"7", []any{int32(7)}},
		{"18446744073709551615", []any{uint64(1<<64 - 1)}},
		{"8c5f0f7e-0000-4000-8000-00000000000a", []any{id}},
		{"8c5f0f7e-0000-4000-8000-00000000000a", []any{[16]byte(id)}},
		{`\x8c5f0f7e00004000800000000000000a`, []any{id[:]}},
		{`\x00`, []any{[]byte{0}}},
		{`\x5c783030`, []any{[]byte(`\x00`)}},
		{`\x00`, []any{`\x00`}},
		{"a%2Fb/1", []any{"a/b", 1}},
		{"a/b%2F1", []any{"a", []byte("b/1")}},
		{"a%252Fb/1", []any{"a%2Fb", 1}},
	} {
		got, err := encryption.RowText(c.key...)
		require.NoError(t, err, c.want)
		require.Equal(t, c.want, got)
	}
	for _, key := range [][]any{{}, {""}, {nil}, {1.5}, {true}, {"a\x00"}, {strings.Repeat("x", 256)}, {struct{}{}}, {"a", nil}} {
		_, err := encryption.RowText(key...)
		require.ErrorIs(t, err, encryption.ErrID)
	}
}

// A table that cannot be read whole is refused before anything changes, and the
// error says why.
func TestTablesThatCannotBeReadWholeAreRefused(t *testing.T) {
	e := newEnv(t, 1)
	d := testdb.New(t, testdb.PostgresC)
	db := d.Open(t)
	exec := func(query string) {
		_, err := db.ExecContext(t.Context(), query)
		require.NoError(t, err, query)
	}
	const columns = ` (id text PRIMARY KEY, tenant text, person text, email bytea, note bytea, phone text, email_idx bigint)`
	refused := func(table, key, says string, db *sql.DB) {
		t.Helper()
		def := contactsTable
		def.SQL, def.Key = table, key
		sealed := e.table(t, e.vault, def)
		_, err := sealed.Reseal(t.Context(), db, tenant, jobs.ResealOptions{})
		require.ErrorIs(t, err, encryption.ErrDefinition, table)
		require.ErrorContains(t, err, says)
		_, _, err = sealed.Holder(db)(t.Context(), tenant, 1)
		require.ErrorIs(t, err, encryption.ErrDefinition, table)
	}
	exec(`CREATE TABLE whole` + columns)
	refused("whole", "person", "no unique index", db)
	refused("whole", "nr", "no unique index", db)
	refused("nowhere", "id", "no such table", db)
	exec(`CREATE TABLE parent` + columns)
	exec(`CREATE TABLE child () INHERITS (parent)`)
	refused("parent", "id", "other tables inherit", db)
	exec(`CREATE VIEW seen AS SELECT * FROM whole`)
	refused("seen", "id", "no unique index", db)
	exec(`CREATE TABLE document (id text PRIMARY KEY, person text, email jsonb, note bytea, phone text, email_idx bigint)`)
	refused("document", "id", "neither bytes nor text", db)

	exec(`CREATE TABLE policed` + columns)
	exec(`ALTER TABLE policed ENABLE ROW LEVEL SECURITY`)
	exec(`CREATE POLICY own ON policed USING (tenant = current_user)`)
	role, as := d.Role(t)
	exec(`GRANT ALL ON policed, whole TO ` + role)
	refused("policed", "id", "row security", as.Open(t))
	def := contactsTable
	def.SQL = "policed"
	_, err := e.table(t, e.vault, def).Census(t.Context(), db, tenant)
	require.NoError(t, err, "who is not subject to the policies sees all rows")
	def.SQL = "whole"
	_, err = e.table(t, e.vault, def).Census(t.Context(), as.Open(t), tenant)
	require.NoError(t, err)
}

// A place that another table gave is refused, and so is a key of another shape.
func TestAPlaceOfAnotherTableIsRefused(t *testing.T) {
	e := newEnv(t, 1)
	for _, after := range []string{`\xzz`, `\fzz`} {
		_, err := e.contacts.Reseal(t.Context(), e.db, tenant, jobs.ResealOptions{After: after})
		require.ErrorIs(t, err, encryption.ErrDefinition)
	}
	_, err := e.db.ExecContext(t.Context(), `CREATE TABLE lines (nr INTEGER NOT NULL, line INTEGER NOT NULL, person TEXT, mail BLOB, PRIMARY KEY (nr, line))`)
	require.NoError(t, err)
	lines := e.table(t, e.vault, encryption.Table{Name: "lines", Key: "nr,line", Columns: []encryption.Column{{Name: "mail"}}})
	for _, after := range []string{"1", "1/2/3"} {
		_, err = lines.Reseal(t.Context(), e.db, tenant, jobs.ResealOptions{After: after})
		require.ErrorIs(t, err, encryption.ErrDefinition)
		_, err = lines.Redact(t.Context(), e.db, tenant, after, jobs.Redaction{Edit: func(_ string, b []byte) ([]byte, error) { return b, nil }})
		require.ErrorIs(t, err, encryption.ErrDefinition)
	}
	_, err = lines.Reseal(t.Context(), e.db, tenant, jobs.ResealOptions{After: "1/2"})
	require.NoError(t, err)
}
