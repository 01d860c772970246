package encryption_test

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/encryption/jobs"
	"github.com/crmguard/crmguard/encryption/keystore"
	"github.com/crmguard/crmguard/internal/sqldb"
	"github.com/crmguard/crmguard/internal/testdb"
)

// A keyedTable is a table of an application with a key of its own type.
type keyedTable struct {
	columns    string   // of the key, as SQL
	constraint string   // that makes it one, where the column does not
	names      string   // of the columns; "" is id
	values     []string // of the columns, as SQL; "" draws them. The last one is another tenant's
	asText     bool     // the application reads it cast to text
	tenant     string   // type of the tenant column, where it is another one
	person     string   // type of the owner column, where it is another one
}

// keyedTables are keys that are in use somewhere, with values whose text and
// whose order differ.
func keyedTables(kind sqldb.Kind) map[string]keyedTable {
	uuids := []string{"'8c5f0f7e-0000-4000-8000-00000000000a'", "'00000000-0000-4000-8000-0000000000ff'", "'ffffffff-0000-4000-8000-000000000002'", "'11111111-0000-4000-8000-000000000002'"}
	words := []string{"'b'", "'Ac'", "'_'", "'ä/%'", "'10'", "'9'", "'c'"}
	pairs := []string{"'a/b', 1", "'a', 2", "'a', 10", "'c%2Fb', 1", "'d', 1"}
	drawn := make([]string, 13)
	switch kind { //nolint:exhaustive // MySQL is as MariaDB
	case sqldb.Postgres:
		return map[string]keyedTable{
			"bigserial":     {columns: "id bigserial PRIMARY KEY", values: drawn},
			"identity":      {columns: "id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY", values: drawn},
			"uuid":          {columns: "id uuid PRIMARY KEY", values: uuids, person: "uuid"},
			"text":          {columns: "id text PRIMARY KEY", values: append([]string{`'\x41'`, "'B'"}, words...)},
			"varchar":       {columns: `id varchar(20) COLLATE "en-x-icu" PRIMARY KEY`, values: append([]string{"'B'"}, words...)},
			"citext":        {columns: "id citext PRIMARY KEY", values: words, person: "citext"},
			"enum":          {columns: "id stage PRIMARY KEY", values: []string{"'won'", "'new'", "'lost'", "'10'"}},
			"bytea":         {columns: "id bytea PRIMARY KEY", values: []string{`'\x6331'`, `'\x00ff'`, `'\x5c78'`, `'\x01'`}},
			"numeric":       {columns: "id numeric PRIMARY KEY", values: []string{"2", "10", "1.50", "9007199254740993", "0"}, asText: true},
			"timestamptz":   {columns: "id timestamptz PRIMARY KEY", values: []string{"'2026-10-25T00:30:00.000001Z'", "'2026-10-25T01:30:00Z'", "'infinity'", "'1970-01-01Z'"}, asText: true},
			"several":       {columns: "account text, nr integer", constraint: "PRIMARY KEY (nr, account)", names: "account, nr", values: pairs},
			"in the tenant": {columns: "id text NOT NULL", constraint: "UNIQUE (tenant, id)", values: append(words, "'b'"), tenant: "bigint"},
		}
	case sqldb.SQLite:
		return map[string]keyedTable{
			"rowid":         {columns: "id INTEGER PRIMARY KEY", values: drawn},
			"text":          {columns: "id TEXT NOT NULL PRIMARY KEY", values: append([]string{"'B'", "'b '"}, words...)},
			"no case":       {columns: "id TEXT COLLATE NOCASE NOT NULL PRIMARY KEY", values: words},
			"blob":          {columns: "id BLOB NOT NULL PRIMARY KEY", values: []string{"x'6331'", "x'00ff'", "x'5c78'", "x'01'"}},
			"any class":     {columns: "id NOT NULL PRIMARY KEY", values: []string{"2", "10", "'b'", "x'00ff'", "1"}},
			"several":       {columns: "account TEXT NOT NULL, nr INTEGER NOT NULL", constraint: "PRIMARY KEY (account, nr)", names: "account, nr", values: pairs},
			"in the tenant": {columns: "id TEXT NOT NULL", constraint: "UNIQUE (tenant, id)", values: append(words, "'b'"), tenant: "INTEGER"},
		}
	}
	return map[string]keyedTable{
		"auto increment": {columns: "id BIGINT AUTO_INCREMENT PRIMARY KEY", values: drawn},
		"unsigned":       {columns: "id BIGINT UNSIGNED PRIMARY KEY", values: []string{"18446744073709551615", "9", "10", "1"}},
		"uuid":           {columns: "id UUID PRIMARY KEY", values: uuids, person: "UUID"},
		"varbinary":      {columns: "id VARBINARY(36) PRIMARY KEY", values: []string{"'b'", "'B'", "'b '", "x'00ff'", "'c'"}},
		"no case":        {columns: "id VARCHAR(36) CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci PRIMARY KEY", values: words, person: "VARCHAR(60) CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci"},
		"enum":           {columns: "id ENUM('won', 'new', 'lost', '2') PRIMARY KEY", values: []string{"'won'", "'lost'", "'2'", "'new'"}},
		"datetime":       {columns: "id DATETIME(6) PRIMARY KEY", values: []string{"'2026-10-25 01:30:00.000001'", "'2026-10-25 01:30:00.000002'", "'1970-01-01'"}, asText: true},
		"several":        {columns: "account VARCHAR(20) CHARACTER SET latin1, nr INT", constraint: "PRIMARY KEY (account, nr)", names: "account, nr", values: pairs},
		"in the tenant":  {columns: "id VARCHAR(36) CHARACTER SET utf8mb4 NOT NULL", constraint: "UNIQUE (tenant, id)", values: append(words, "'b'"), tenant: "BIGINT"},
	}
}

// keyedCase is one such table on one database, through one driver.
type keyedCase struct {
	keyedTable
	*env
	db    *sql.DB
	d     sqldb.Dialect
	name  string
	names []string // of the key's columns
	table *encryption.SealedTable
	ids   map[string]int // text of a row's key -> number of the row
}

const seven = "7" // a tenant whose name is a number

// Every verb over an application's rows does its work on every database, through
// every driver, whatever the key is made of: no row is left out and none is read
// twice, jobs resume where they stopped, and what the application has sealed
// under the text of a key opens.
func TestEveryVerbWorksOnEveryDatabaseWithKeysOfItsOwnTypes(t *testing.T) {
	e := newEnv(t, 1)
	require.NoError(t, e.vault.AddTenant(t.Context(), seven))
	for _, name := range testdb.Names() {
		drivers := name.Drivers()
		if name == testdb.PostgresC { // each driver of PostgreSQL on one of the two
			drivers = drivers[1:]
		} else {
			drivers = drivers[:1]
		}
		for _, driver := range drivers {
			t.Run(string(name)+" "+driver, func(t *testing.T) {
				db := testdb.New(t, name).OpenWith(t, driver)
				d, err := sqldb.Ask(t.Context(), db)
				require.NoError(t, err)
				typesOf(t, db, name)
				tables := 0
				for what, key := range keyedTables(d.Kind) {
					tables++
					t.Run(what, func(t *testing.T) {
						c := &keyedCase{keyedTable: key, env: e, db: db, d: d, name: fmt.Sprint("crm_", tables), ids: map[string]int{}}
						c.create(t)
						c.work(t)
					})
				}
			})
		}
	}
}

func (c *keyedCase) exec(tb testing.TB, query string, args ...any) {
	tb.Helper()
	_, err := c.db.ExecContext(tb.Context(), c.d.Bind(query), args...)
	require.NoError(tb, err, query)
}

func (c *keyedCase) create(tb testing.TB) {
	tb.Helper()
	text, raw := "text", "bytea"
	switch c.d.Kind { //nolint:exhaustive // MySQL is as MariaDB
	case sqldb.SQLite:
		raw = "BLOB"
	case sqldb.MariaDB:
		text, raw = "VARCHAR(255) CHARACTER SET utf8mb4", "BLOB"
	}
	if c.constraint != "" {
		c.constraint = ", " + c.constraint
	}
	c.exec(tb, fmt.Sprintf(`CREATE TABLE %s (%s, n integer, tenant %s NOT NULL, person %s NOT NULL, mail %s, note %s, phone %s, mail_x bigint, mail_w %s%s)`,
		c.name, c.columns, cmp.Or(c.tenant, text), cmp.Or(c.person, text), raw, raw, text, raw, c.constraint))
	c.names = strings.Split(cmp.Or(c.keyedTable.names, "id"), ", ")
	c.table = c.env.table(tb, c.vault, c.definition())
	for n, value := range c.values {
		columns, of := "n, tenant, person", seven
		if n == len(c.values)-1 {
			of = "8"
		}
		if value != "" {
			columns += ", " + strings.Join(c.names, ", ")
			value = ", " + value
		}
		c.exec(tb, `INSERT INTO `+c.name+` (`+columns+`) VALUES (?, ?, ?`+value+`)`, n, of, personOf(n))
		if of == seven {
			c.seal(tb, n, personOf(n))
		}
	}
	c.exec(tb, `UPDATE `+c.name+` SET mail = ? WHERE n = ?`, []byte("another tenant's, and clear"), len(c.values)-1)
}

func (c *keyedCase) definition() encryption.Table {
	return encryption.Table{
		Name: "people", SQL: c.name, Key: c.keyedTable.names, Tenant: "tenant",
		Columns: []encryption.Column{
			{Name: "email", SQL: "mail", Index: []encryption.Index{{Column: "mail_x", As: encryption.Email, Bits: 32}, {Column: "mail_w", As: encryption.Exact, Bits: 128}}},
			{Name: "note", Level: encryption.LevelRow},
			{Name: "phone", Text: true, Pad: 16},
		},
	}
}

// personOf is the owner of row n: an id that a UUID column takes, too.
func personOf(n int) string { return fmt.Sprintf("ab000000-0000-4000-8000-%012x", n%3) }

// seal writes the fields of row n as an application does: it reads the key by its
// driver, and binds the fields to its text.
func (c *keyedCase) seal(tb testing.TB, n int, owner string) {
	tb.Helper()
	id := c.idOf(tb, n)
	c.ids[id] = n
	w, err := c.table.Writer(tb.Context(), seven, owner)
	if strings.HasPrefix(owner, "r:") {
		w, err = c.table.RecordWriter(tb.Context(), seven, owner)
	}
	require.NoError(tb, err)
	w, err = w.Row(id)
	require.NoError(tb, err)
	mail := fmt.Sprintf("m%d@b.example", n)
	c.exec(tb, `UPDATE `+c.name+` SET person = ?, mail = ?, note = ?, phone = ?, mail_x = NULL WHERE n = ?`,
		owner, w.Text("email", mail), w.Text("note", fmt.Sprint("note ", n)), w.Text("phone", fmt.Sprint("+41 ", n)), n)
}

func (c *keyedCase) idOf(tb testing.TB, n int) string {
	tb.Helper()
	columns := make([]string, len(c.names))
	key, into := make([]any, len(c.names)), make([]any, len(c.names))
	for i, name := range c.names {
		into[i], columns[i] = &key[i], name
		if c.asText && c.d.Kind == sqldb.MariaDB {
			columns[i] = "CONCAT(" + name + ")"
		} else if c.asText {
			columns[i] = "to_jsonb(" + name + ") #>> '{}'"
		}
	}
	require.NoError(tb, c.db.QueryRowContext(tb.Context(), c.d.Bind(`SELECT `+strings.Join(columns, ", ")+` FROM `+c.name+` WHERE n = ?`), n).Scan(into...))
	id, err := encryption.RowText(key...)
	require.NoError(tb, err)
	return id
}

// requireOpens reads all rows of the tenant as an application does.
func (c *keyedCase) requireOpens(tb testing.TB) {
	tb.Helper()
	for id, n := range c.ids {
		var owner string
		var mail, note, phone encryption.Sealed
		require.NoError(tb, c.db.QueryRowContext(tb.Context(), c.d.Bind(`SELECT person, mail, note, phone FROM `+c.name+` WHERE n = ?`), n).Scan(&owner, &mail, &note, &phone))
		r, err := c.table.Reader(tb.Context(), seven, owner)
		require.NoError(tb, err)
		for column, want := range map[string]struct {
			sealed encryption.Sealed
			text   string
		}{"email": {mail, fmt.Sprintf("m%d@b.example", n)}, "note": {note, fmt.Sprint("note ", n)}, "phone": {phone, fmt.Sprint("+41 ", n)}} {
			got, err := r.Row(owner, id).Text(tb.Context(), column, want.sealed.Bytes())
			require.NoError(tb, err, "%s of %q", column, id)
			require.Equal(tb, want.text, got)
		}
	}
}

// find looks a row up by an index and returns its number.
func (c *keyedCase) find(tb testing.TB, index, mail string) (n int) {
	tb.Helper()
	probes, err := c.table.Lookup(tb.Context(), seven, index, mail)
	require.NoError(tb, err)
	where, args := probes.Where("")
	require.NoError(tb, c.db.QueryRowContext(tb.Context(), c.d.Bind(`SELECT n FROM `+c.name+` WHERE `+where), args...).Scan(&n))
	return n
}

func (c *keyedCase) work(t *testing.T) {
	ctx := t.Context()
	rows := len(c.ids)
	require.Equal(t, len(c.values)-1, rows, "keys have texts of their own")
	require.NoError(t, c.table.RebuildIndexes(c.db, seven)(ctx))
	for _, index := range []string{"mail_x", "mail_w"} {
		require.Equal(t, 1, c.find(t, index, "m1@b.example"))
	}
	keyVersions, err := c.vault.KeyVersions(ctx, seven)
	require.NoError(t, err)
	old := keyVersions[slices.IndexFunc(keyVersions, func(g keystore.KeyVersionRow) bool { return g.State == keystore.Active })].KeyVersion
	var damaged []byte
	require.NoError(t, c.db.QueryRowContext(ctx, `SELECT mail FROM `+c.name+` WHERE n = 0`).Scan(&damaged))
	damaged[len(damaged)-1] ^= 1
	fresh, err := c.vault.NewKeyVersion(ctx, seven)
	require.NoError(t, err)
	held, _, err := c.table.Holder(c.db)(ctx, seven, old)
	require.NoError(t, err)
	require.Equal(t, 3*rows, held)

	// Stopped after the first page, then resumed; each row once.
	touched := map[string]int{}
	hook := func(_ context.Context, tx *sql.Tx, _, key string) error {
		touched[key]++
		var one int
		return tx.QueryRowContext(ctx, `SELECT 1`).Scan(&one)
	}
	stopped, stop := context.WithCancel(ctx)
	report, err := c.table.Reseal(stopped, c.db, seven, jobs.ResealOptions{Batch: 1, BeforeRow: hook, AfterRow: hook, Progress: func(r jobs.ResealReport) {
		if r.Rows == 1+rows/2 {
			stop()
		}
	}})
	require.ErrorIs(t, err, context.Canceled)
	first := report.Rows
	report, err = c.table.Reseal(ctx, c.db, seven, jobs.ResealOptions{Batch: 2, BeforeRow: hook, AfterRow: hook, After: report.Last})
	require.NoError(t, err)
	require.Equal(t, rows, first+report.Rows)
	require.Equal(t, 3*report.Rows, report.Cells)
	require.Zero(t, report.Conflicts+report.Unreadable)
	for id := range c.ids {
		require.Equal(t, 2, touched[id], "%q", id)
	}
	require.Len(t, touched, rows)
	c.requireOpens(t)
	census, err := c.table.Census(ctx, c.db, seven)
	require.NoError(t, err)
	require.Equal(t, jobs.Census{KeyVersions: map[uint32]int64{fresh: int64(3 * rows)}}, census)
	counts, err := c.vault.Counts(c.db, "8", c.table)(ctx)
	require.NoError(t, err)
	require.Empty(t, counts["8"])

	// One cell that does not open: counted, named, and given up.
	c.exec(t, `UPDATE `+c.name+` SET mail = ? WHERE n = 0`, damaged)
	report, err = c.table.Reseal(ctx, c.db, seven, jobs.ResealOptions{})
	require.NoError(t, err)
	require.Len(t, report.Listed, 1)
	require.Equal(t, c.idOf(t, 0), report.Listed[0].Key)
	for _, given := range [][]jobs.Unreadable{nil, report.Listed} {
		held, _, err := c.table.Holder(c.db, given...)(ctx, seven, old)
		require.NoError(t, err)
		require.Equal(t, 1-len(given), held)
	}
	c.seal(t, 0, personOf(0))
	require.NoError(t, c.table.RebuildIndexes(c.db, seven)(ctx))

	if c.person == "" || c.person == "citext" || strings.HasPrefix(c.person, "VARCHAR") { // a record owner is no UUID
		c.redact(t)
	}
	if strings.HasPrefix(c.person, "VARCHAR") || c.person == "citext" {
		c.exec(t, `UPDATE `+c.name+` SET person = 'P1' WHERE n = 0`)
		require.NoError(t, c.table.ClearRows(c.db)(ctx, seven, "p1"), "another person, whatever a collation says")
	}
	census, err = c.table.Census(ctx, c.db, seven)
	require.NoError(t, err)
	require.Zero(t, census.Null)
	require.NoError(t, c.table.ClearRows(c.db)(ctx, seven, strings.ToUpper(personOf(1))), "a UUID is one however it is spelt")
	var left, others int
	require.NoError(t, c.db.QueryRowContext(ctx, `SELECT COUNT(mail), COUNT(mail_x) FROM `+c.name).Scan(&left, &others))
	gone := 0
	for n := range rows {
		if n%3 == 1 {
			gone++
		}
	}
	require.Equal(t, []int{1 + rows - gone, rows - gone}, []int{left, others})
}

func (c *keyedCase) redact(t *testing.T) {
	owner, err := encryption.NewRecordOwner()
	require.NoError(t, err)
	c.seal(t, 0, owner)
	id := c.idOf(t, 0)
	after, err := c.table.Redact(t.Context(), c.db, seven, id, jobs.Redaction{Edit: func(column string, plaintext []byte) ([]byte, error) {
		if column == "email" {
			return []byte("redacted@b.example"), nil
		}
		return plaintext, nil
	}})
	require.NoError(t, err)
	require.NotEqual(t, owner, after)
	require.Equal(t, 0, c.find(t, "mail_x", "redacted@b.example"))
	_, err = c.table.Redact(t.Context(), c.db, "8", id, jobs.Redaction{Edit: func(_ string, b []byte) ([]byte, error) { return b, nil }})
	require.Error(t, err, "another tenant's")
}
