package encryption_test

import (
	"cmp"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/encryption/encryptiontest"
	"github.com/crmguard/crmguard/encryption/jobs"
)

// A wider second version is built beside the first one, searched together
// with it, and the first one retired.
func TestIndexVersions(t *testing.T) {
	e := newEnv(t, 1)
	for i := range 5 {
		e.insert(t, fmt.Sprintf("c%d", i), fmt.Sprintf("p%d", i))
	}
	_, err := e.db.ExecContext(t.Context(), `ALTER TABLE contacts ADD COLUMN email_idx2 BLOB`)
	require.NoError(t, err)
	def := contactsTable
	def.Columns = append([]encryption.Column(nil), def.Columns...)
	def.Columns[0].Index = append([]encryption.Index{{Column: "email_idx2", Name: "email_index", Version: 2, As: encryption.Email, Bits: 128}}, def.Columns[0].Index...)
	wide := e.table(t, e.vault, def)
	probes, err := wide.Lookup(t.Context(), tenant, "email_index", "p3@b.example")
	require.NoError(t, err)
	require.Len(t, probes, 1, "version 2 is building")
	require.ErrorIs(t, wide.RetireIndex(t.Context(), tenant, "email_index", 1), encryption.ErrDefinition, "no other version is live")

	require.NoError(t, wide.RebuildIndexes(e.db, tenant)(t.Context()))
	probes, err = wide.Lookup(t.Context(), tenant, "email_index", "p3@b.example")
	require.NoError(t, err)
	require.Len(t, probes, 1, "whoever knows version 1 alone may still write")
	require.NoError(t, wide.FenceOldWriters(t.Context(), tenant))
	require.NoError(t, wide.RebuildIndexes(e.db, tenant)(t.Context()))
	probes, err = wide.Lookup(t.Context(), tenant, "email_index", "p3@b.example")
	require.NoError(t, err)
	require.Len(t, probes, 2)
	for _, probe := range probes {
		var id string
		where, args := encryption.Conditions{probe}.Where("")
		require.NoError(t, e.db.QueryRowContext(t.Context(), `SELECT id FROM contacts WHERE `+where, args...).Scan(&id))
		require.Equal(t, "c3", id)
	}
	require.NoError(t, wide.RetireIndex(t.Context(), tenant, "email_idx", 1))
	probes, err = wide.Lookup(t.Context(), tenant, "email_idx", "p3@b.example")
	require.NoError(t, err)
	require.Len(t, probes, 1)
	require.Equal(t, "email_idx2", probes[0].Column)
	require.Len(t, probes[0].Value.Bytes(), 16)
	w, err := wide.Writer(t.Context(), tenant, "p1")
	require.NoError(t, err)
	require.True(t, w.Int64("email_idx", "x@y").IsNull(), "a retired version is not written")
	require.ErrorIs(t, w.Int64("email_idx2", "x@y").Err(), encryption.ErrDefinition, "too wide for an integer")
	require.NoError(t, w.Index("email_idx2", "x@y").Err())

	changed := def
	changed.Columns = append([]encryption.Column(nil), def.Columns...)
	changed.Columns[0].Index = []encryption.Index{{Column: "email_idx", Name: "email_index", As: encryption.Exact, Bits: 32}}
	_, err = e.table(t, e.vault, changed).Lookup(t.Context(), tenant, "email_idx", "x")
	require.ErrorIs(t, err, encryption.ErrDefinition, "another normaliser is another version")
}

// Snapshots carry no index columns: after a restore they are computed anew,
// also for rows that lie about themselves, and erased rows get none.
func TestRebuildIndexes(t *testing.T) {
	e := newEnv(t, 1)
	for i := range 450 {
		e.insert(t, fmt.Sprintf("c%03d", i), fmt.Sprintf("p%02d", i%20))
	}
	_, err := e.vault.Erase(t.Context(), tenant, "p07")
	require.NoError(t, err)
	read := func() map[string]any {
		rows, err := e.db.QueryContext(t.Context(), `SELECT id, email_idx FROM contacts`)
		require.NoError(t, err)
		defer rows.Close()
		out := map[string]any{}
		for rows.Next() {
			var id string
			var x any
			require.NoError(t, rows.Scan(&id, &x))
			out[id] = x
		}
		require.NoError(t, rows.Err())
		return out
	}
	want := read()
	for i := 7; i < 450; i += 20 {
		want[fmt.Sprintf("c%03d", i)] = nil
	}
	_, err = e.db.ExecContext(t.Context(), `UPDATE contacts SET email_idx = CASE WHEN id < 'c3' THEN NULL ELSE 7 END`)
	require.NoError(t, err)
	require.NoError(t, e.contacts.RebuildIndexes(e.db, tenant)(t.Context()))
	require.Equal(t, want, read())
}

// Index values of two tenants, tables or versions have nothing in common.
func TestIndexesDoNotCorrelate(t *testing.T) {
	e := newEnv(t, 1)
	require.NoError(t, e.vault.AddTenant(t.Context(), "t2"))
	leads := contactsTable
	leads.Name = "leads"
	seen := map[int64]string{}
	for _, tn := range []string{tenant, "t2"} {
		for _, table := range []*encryption.SealedTable{e.contacts, e.table(t, e.vault, leads)} {
			probes, err := table.Lookup(t.Context(), tn, "email_index", "a@b.example")
			require.NoError(t, err)
			n, ok := probes[0].Value.Int64()
			require.True(t, ok)
			require.Less(t, n, int64(1)<<32)
			require.NotContains(t, seen, n)
			seen[n] = tn + table.Name()
		}
	}
}

func TestDefinitionsAreChecked(t *testing.T) {
	e := newEnv(t, 1)
	col := func(c encryption.Column) encryption.Table {
		return encryption.Table{Name: "x", Columns: []encryption.Column{c}}
	}
	index := func(x ...encryption.Index) encryption.Table {
		return col(encryption.Column{Name: "a", Index: x})
	}
	for name, def := range map[string]encryption.Table{
		"no name": {Columns: []encryption.Column{{Name: "a"}}}, "no columns": {Name: "x"}, "SQL": {Name: "x; DROP", Columns: []encryption.Column{{Name: "a"}}},
		"key": {Name: "x", Key: "a b", Columns: []encryption.Column{{Name: "a"}}}, "twice": {Name: "x", Columns: []encryption.Column{{Name: "a"}, {Name: "a"}}},
		"column": col(encryption.Column{Name: "a-b"}), "level": col(encryption.Column{Name: "a", Level: 4}), "pad": col(encryption.Column{Name: "a", Pad: -2}),
		"stream": col(encryption.Column{Name: "a", Stream: true, Text: true}), "no column name": col(encryption.Column{}),
		"bits": index(encryption.Index{Column: "i", As: encryption.Email, Bits: 7}), "odd bits": index(encryption.Index{Column: "i", As: encryption.Email, Bits: 65}),
		"normaliser": index(encryption.Index{Column: "i", As: "email/9", Bits: 8}), "index column": index(encryption.Index{As: encryption.Email, Bits: 8}),
		"same column": index(encryption.Index{Column: "i", As: encryption.Email, Bits: 8}, encryption.Index{Column: "i", Version: 2, As: encryption.Email, Bits: 8}),
	} {
		_, err := e.vault.Table(def)
		require.ErrorIs(t, err, encryption.ErrDefinition, name)
	}
}

// Columns of the tenant's own data, and records of several persons.
func TestOtherOwners(t *testing.T) {
	e := newEnv(t, 1)
	settings := e.table(t, e.vault, encryption.Table{Name: "settings", Shared: true, Level: encryption.LevelTenant, Columns: []encryption.Column{{Name: "token"}}})
	_, err := e.db.ExecContext(t.Context(), `CREATE TABLE settings (id INTEGER NOT NULL PRIMARY KEY, token BLOB) STRICT`)
	require.NoError(t, err)
	w, err := settings.TenantWriter(t.Context(), tenant)
	require.NoError(t, err)
	for i := range 3 {
		_, err = e.db.ExecContext(t.Context(), `INSERT INTO settings (id, token) VALUES (?, ?)`, i, w.Text("token", "secret"))
		require.NoError(t, err)
	}
	p, err := settings.Writer(t.Context(), tenant, "p1")
	require.NoError(t, err)
	_, err = p.Seal("token", nil)
	require.ErrorIs(t, err, encryption.ErrDefinition, "the tenant's data is not sealed under a person")
	e.rotate(t)
	report, err := settings.Reseal(t.Context(), e.db, tenant, jobs.ResealOptions{Batch: 2})
	require.NoError(t, err)
	require.Equal(t, 3, report.Cells)
	r, err := settings.Reader(t.Context(), tenant)
	require.NoError(t, err)
	var sealed encryption.Sealed
	require.NoError(t, e.db.QueryRowContext(t.Context(), `SELECT token FROM settings WHERE id = 2`).Scan(&sealed))
	text, err := r.Row("", "").Text(t.Context(), "token", sealed.Bytes())
	require.NoError(t, err)
	require.Equal(t, "secret", text)
}

func TestRedactARecordOfTwoPersons(t *testing.T) {
	e := newEnv(t, 1)
	owner, err := encryption.NewRecordOwner()
	require.NoError(t, err)
	w, err := e.contacts.RecordWriter(t.Context(), tenant, owner)
	require.NoError(t, err)
	w, err = w.Row("a1")
	require.NoError(t, err)
	_, err = e.db.ExecContext(t.Context(), `INSERT INTO contacts (id, person, note, email) VALUES ('a1', ?, ?, ?)`, owner, w.Text("note", "Ann met Bob"), w.Text("email", "ann@b.example"))
	require.NoError(t, err)
	old := e.read(t)
	e.rotate(t)
	edit := func(column string, plaintext []byte) ([]byte, error) {
		if column == "note" {
			require.Equal(t, "Ann met Bob", string(plaintext))
			return []byte("… met Bob"), nil
		}
		return nil, nil
	}
	fresh, err := e.contacts.Redact(t.Context(), e.db, tenant, "a1", jobs.Redaction{Edit: edit})
	require.NoError(t, err)
	require.NotEqual(t, owner, fresh)
	rows := e.read(t)
	require.Equal(t, fresh, rows[0].Person)
	require.NoError(t, encryption.OpenAll(t.Context(), e.contacts, tenant, rows))
	require.Equal(t, "… met Bob", rows[0].Note)
	require.True(t, rows[0].email.IsNull())
	require.ErrorIs(t, encryption.OpenAll(t.Context(), e.contacts, tenant, old), encryption.ErrErased, "the unredacted copy in backups is unreadable")
	_, err = e.contacts.RecordWriter(t.Context(), tenant, "p1")
	require.ErrorIs(t, err, encryption.ErrID)
	e.insert(t, "c1", "p1")
	_, err = e.contacts.Redact(t.Context(), e.db, tenant, "c1", jobs.Redaction{Edit: edit})
	require.ErrorIs(t, err, encryption.ErrID)
	_, err = e.vault.EraseRecord(t.Context(), tenant, "p1")
	require.ErrorIs(t, err, encryption.ErrID)
}

// One word declares the index that most columns want, and is the same index as
// the one that is written out.
func TestFindStandsForAnIndex(t *testing.T) {
	vault := encryptiontest.Vault(t, tenant)
	values := map[string]int64{}
	for what, column := range map[string]encryption.Column{
		"one word":    {Name: "email", SQL: "mail", Find: encryption.Email},
		"written out": {Name: "email", SQL: "mail", Index: []encryption.Index{{Column: "mail_idx", Name: "email_idx", As: encryption.Email, Bits: 32}}},
		"renamed":     {Name: "email", SQL: "mail_sealed", Find: encryption.Email},
	} {
		table, err := vault.Table(encryption.Table{Name: "contacts", Columns: []encryption.Column{column}})
		require.NoError(t, err)
		w, err := table.Writer(t.Context(), tenant, "p1")
		require.NoError(t, err)
		var ok bool
		values[what], ok = w.Int64(cmp.Or(column.SQL, column.Name)+"_idx", "Ann@b.example").Int64()
		require.True(t, ok)
	}
	require.Equal(t, values["written out"], values["one word"])
	require.Equal(t, values["renamed"], values["one word"], "renaming in SQL changes no value")
	for _, refused := range []encryption.Column{
		{Name: "content", Stream: true, Find: encryption.Exact},
		{Name: "email", Find: "telephone/1"},
		{Name: "email", Find: encryption.Email, Index: []encryption.Index{{Column: "email_idx", As: encryption.Exact, Bits: 64}}},
	} {
		_, err := vault.Table(encryption.Table{Name: "contacts", Columns: []encryption.Column{refused}})
		require.ErrorIs(t, err, encryption.ErrDefinition)
	}
}
