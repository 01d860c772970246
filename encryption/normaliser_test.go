package encryption_test

import (
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/encryption/encryptiontest"
	"github.com/crmguard/crmguard/internal/testdb"
)

const e164 encryption.Normaliser = "acme.e164/1"

// digitsOnly stands for a rule that an application hands in.
func digitsOnly(value string) (string, error) {
	if strings.ContainsAny(value, "abc") {
		return "", errors.New("not a number: " + value)
	}
	return strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' {
			return r
		}
		return -1
	}, value), nil
}

// One value has several indexes, each by the rule that its search needs.
func TestEachKindOfIndexFindsItsOwn(t *testing.T) {
	e := newEnv(t, 1)
	cfg := e.cfg
	cfg.Normalisers = map[encryption.Normaliser]func(string) (string, error){e164: digitsOnly}
	vault, err := encryption.Open(t.Context(), cfg)
	require.NoError(t, err)
	_, err = e.db.ExecContext(t.Context(), `CREATE TABLE people (id TEXT NOT NULL PRIMARY KEY, person TEXT NOT NULL, email BLOB, email_idx INTEGER, domain_idx INTEGER, email_uq BLOB UNIQUE,
		phone BLOB, phone_last4 INTEGER, phone_idx INTEGER) STRICT`)
	require.NoError(t, err)
	people, err := vault.Table(encryption.Table{Name: "people", Columns: []encryption.Column{
		{Name: "email", Find: encryption.Email, Index: []encryption.Index{{Column: "domain_idx", As: encryption.EmailDomain, Bits: 16}, {Column: "email_uq", As: encryption.Email, Unique: true}}},
		{Name: "phone", Index: []encryption.Index{{Column: "phone_last4", As: encryption.LastDigits(4), Bits: 12}, {Column: "phone_idx", As: e164, Bits: 40}}},
	}})
	require.NoError(t, err)
	insert := func(id, mail, phone string) error {
		w, err := people.Writer(t.Context(), tenant, "p"+id)
		require.NoError(t, err)
		_, err = e.db.ExecContext(t.Context(), `INSERT INTO people (id, person, email, email_idx, domain_idx, email_uq, phone, phone_last4, phone_idx) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`, id, "p"+id,
			w.Text("email", mail), w.Int64("email_idx", mail), w.Int64("domain_idx", mail), w.Index("email_uq", mail), w.Text("phone", phone), w.Int64("phone_last4", phone), w.Int64("phone_idx", phone))
		return err
	}
	require.NoError(t, insert("1", "Ann@B.example", "+41 44 668 18 00"))
	require.NoError(t, insert("2", "bob@b.example.", "(044) 668-1801"))
	find := func(index, value string) (ids string) {
		conditions, err := people.Lookup(t.Context(), tenant, index, value)
		require.NoError(t, err, index)
		where, args := conditions.Where("")
		require.NoError(t, e.db.QueryRowContext(t.Context(), `SELECT coalesce(group_concat(id, ' '), '') FROM people WHERE `+where, args...).Scan(&ids))
		return ids
	}
	require.Equal(t, "1", find("email_idx", "\u200bANN@b.example\u00a0"))
	require.Equal(t, "1 2", find("domain_idx", "B.EXAMPLE."))
	require.Equal(t, "1 2", find("domain_idx", "anybody@b.example"))
	require.Equal(t, "1", find("phone_last4", "1800"))
	require.Equal(t, "2", find("phone_last4", "... ١٨٠١"))
	require.Equal(t, "1", find("phone_idx", "+41446681800"))
	require.True(t, people.Match("phone_idx", "+41 44 668 18 00", "41446681800"))
	require.False(t, people.Match("phone_idx", "abc", "abc"), "what is refused matches nothing")

	// Unique: the same address in another spelling is there already.
	err = insert("3", "ANN\u00ad@b.example.", "1")
	exists := people.Exists(err)
	require.ErrorIs(t, exists, encryption.ErrExists)
	require.ErrorContains(t, exists, "value exists")
	require.ErrorContains(t, exists, "people.email_uq")
	require.NoError(t, insert("4", "", "17"), "a value that is empty is no value: any number of rows has none")
	require.NoError(t, insert("5", " ", "18"))
	require.Equal(t, "5", find("phone_idx", "18"))
	_, err = people.Lookup(t.Context(), tenant, "phone_last4", "18")
	require.ErrorIs(t, err, encryption.ErrDefinition, "two digits are no last four")
	_, err = e.db.ExecContext(t.Context(), `INSERT INTO people (id, person) VALUES ('1', 'p')`)
	require.NotErrorIs(t, people.Exists(err), encryption.ErrExists, "another constraint: the primary key")
	require.Equal(t, err, people.Exists(err))
	require.NoError(t, people.Exists(nil))

	// What the application's rule refuses is not written and not searched for.
	err = insert("6", "d@e.example", "abc-17")
	require.ErrorIs(t, err, encryption.ErrValue)
	require.NotContains(t, err.Error(), "abc-17", "what the rule said may quote the value")
	_, err = people.Lookup(t.Context(), tenant, "phone_idx", "abc-17")
	require.ErrorIs(t, err, encryption.ErrValue)
	require.NotContains(t, err.Error(), "abc-17")
	require.ErrorContains(t, err, "acme.e164/1")
	_, err = people.Lookup(t.Context(), tenant, "phone", "17")
	require.ErrorContains(t, err, "there are email_idx, domain_idx, email_uq, phone_last4, phone_idx")

	// A row that is there already keeps no index value that its rule refuses.
	w, err := people.Writer(t.Context(), tenant, "p1")
	require.NoError(t, err)
	_, err = e.db.ExecContext(t.Context(), `UPDATE people SET phone = ? WHERE id = '1'`, w.Text("phone", "abc"))
	require.NoError(t, err)
	report, err := people.Rebuild(t.Context(), e.db, tenant)
	require.NoError(t, err)
	require.Equal(t, 2, report.Corrected)
	require.Empty(t, find("phone_idx", "+41446681800"))
}

// Two versions of an index with two rules are searched together, and what either
// of them makes one is a match.
func TestTwoRulesAreSearchedTogether(t *testing.T) {
	e := newEnv(t, 1)
	_, err := e.db.ExecContext(t.Context(), `ALTER TABLE contacts ADD COLUMN email_idx2 INTEGER`)
	require.NoError(t, err)
	def := after()
	def.Columns[0].Index[0].As = encryption.EmailV1
	old := e.table(t, e.vault, def)
	require.NoError(t, insertMail(t, e.db, old, "c1", "Müller", true))
	def = twoVersions()
	def.Columns[0].Index[0].As = encryption.EmailV1
	people := e.table(t, e.another(t), def)
	n, err := findMail(t, e.db, people, "müller\u200b")
	require.NoError(t, err)
	require.Zero(t, n, "the old rule alone: it knows A to Z")
	insertBoth(t, e, people, "c2", "MÜLLER")
	require.NoError(t, people.FenceOldWriters(t.Context(), tenant))
	require.NoError(t, people.RebuildIndexes(e.db, tenant)(t.Context()))
	for wanted, count := range map[string]int{"müller\u200b": 2, "Müller": 2, "MÜLLER": 2} {
		n, err := findMail(t, e.db, people, wanted)
		require.NoError(t, err)
		require.Equal(t, count, n, wanted)
		require.True(t, people.Match("email_idx", "MÜLLER@b.example", wanted+"@b.example"), wanted)
	}
	require.NoError(t, people.RetireIndex(t.Context(), tenant, "email_idx", 1))
	n, err = findMail(t, e.db, people, "müller")
	require.NoError(t, err)
	require.Equal(t, 2, n)

	// A value that one rule makes empty is searched by the other alone.
	both := encryption.Table{Name: "both", Columns: []encryption.Column{{Name: "email", Index: []encryption.Index{
		{Column: "a", Name: "x", As: encryption.EmailV1, Bits: 32}, {Column: "b", Name: "x", Version: 2, As: encryption.Email, Bits: 32},
	}}}}
	vault := encryptiontest.Vault(t, "main")
	table, err := vault.Table(both)
	require.NoError(t, err)
	conditions, err := table.Lookup(t.Context(), "main", "x", "\u200b")
	require.NoError(t, err)
	require.Len(t, conditions, 1)
	require.Equal(t, "a", conditions[0].Column)
	_, err = table.Lookup(t.Context(), "main", "x", " ")
	require.ErrorIs(t, err, encryption.ErrDefinition)
}

// A rule of the application is called twice for each value, and its word is taken
// where it keeps it.
func TestAnUnsteadyNormaliserIsNotTrusted(t *testing.T) {
	e := newEnv(t, 1)
	var calls atomic.Int64
	cfg := e.cfg
	cfg.Normalisers = map[encryption.Normaliser]func(string) (string, error){
		"acme.panics/1": func(value string) (string, error) { panic(value) },
		"acme.changes/1": func(value string) (string, error) {
			return value + string(rune('a'+calls.Add(1)%2)), nil
		},
		"acme.moody/1": func(value string) (string, error) {
			if calls.Add(1)%2 == 0 {
				return "", errors.New(value)
			}
			return "", nil
		},
		"acme.clock/1": func(string) (string, error) { return time.Now().Format(time.RFC3339Nano), nil },
	}
	vault, err := encryption.Open(t.Context(), cfg)
	require.NoError(t, err)
	tables := map[encryption.Normaliser]*encryption.SealedTable{}
	for name := range cfg.Normalisers {
		tables[name], err = vault.Table(encryption.Table{Name: strings.ReplaceAll(string(name), "/", "-"), SQL: "x", Columns: []encryption.Column{{Name: "a", Index: []encryption.Index{{Column: "a_idx", As: name, Bits: 32}}}}})
		require.NoError(t, err)
	}
	for name, table := range tables {
		w, err := table.Writer(t.Context(), tenant, "p1")
		require.NoError(t, err)
		for _, err := range []error{w.Int64("a_idx", "canary").Err(), func() error { _, err := table.Lookup(t.Context(), tenant, "a_idx", "canary"); return err }()} {
			require.ErrorIs(t, err, encryption.ErrDefinition, name)
			require.NotErrorIs(t, err, encryption.ErrValue, name)
			require.ErrorContains(t, err, string(name))
			require.NotContains(t, err.Error(), "canary", name)
		}
		require.False(t, table.Match("a_idx", "canary", "canary"), name)
	}
}

func TestNamesOfNormalisersAreChecked(t *testing.T) {
	e := newEnv(t, 1)
	f := func(value string) (string, error) { return value, nil }
	for _, name := range []encryption.Normaliser{"email/2", "email/3", "last4/1", "e164/1", "", "acme.e164", "acme.e164/0", "acme.e164/01", "Acme.e164/1", "acme. e164/1", "acme./1", encryption.Normaliser("acme." + strings.Repeat("x", 200) + "/1")} {
		cfg := e.cfg
		cfg.Normalisers = map[encryption.Normaliser]func(string) (string, error){name: f}
		_, err := encryption.Open(t.Context(), cfg)
		require.ErrorIs(t, err, encryption.ErrDefinition, name)
		require.ErrorContains(t, err, "acme.", name)
	}
	cfg := e.cfg
	cfg.Normalisers = map[encryption.Normaliser]func(string) (string, error){"phone/7": f}
	_, err := encryption.Open(t.Context(), cfg)
	require.ErrorContains(t, err, "the library's own")
	cfg.Normalisers = map[encryption.Normaliser]func(string) (string, error){e164: nil}
	_, err = encryption.Open(t.Context(), cfg)
	require.ErrorIs(t, err, encryption.ErrDefinition)
	table := func(index encryption.Index) error {
		_, err := e.vault.Table(encryption.Table{Name: "x", Columns: []encryption.Column{{Name: "a", Index: []encryption.Index{index}}}})
		return err
	}
	err = table(encryption.Index{Column: "i", As: e164, Bits: 32})
	require.ErrorIs(t, err, encryption.ErrDefinition)
	require.ErrorContains(t, err, "Config.Normalisers")
	require.ErrorContains(t, err, string(e164))
	for _, refused := range []encryption.Index{
		{Column: "i", As: encryption.LastDigits(1), Bits: 32},
		{Column: "i", As: encryption.LastDigits(16), Bits: 32},
		{Column: "i", As: "email/9", Bits: 32},
		{Column: "i", As: encryption.Email, Bits: 64, Unique: true},
		{Column: "i", As: encryption.Email},
	} {
		require.ErrorIs(t, table(refused), encryption.ErrDefinition, "%+v", refused)
	}
	require.NoError(t, table(encryption.Index{Column: "i", As: encryption.Email, Unique: true, Bits: 256}))
}

// A constraint on an index column says on each database that the value is there,
// whatever the driver; without showing it.
func TestAValueExistsOnEachDatabase(t *testing.T) {
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		bytes := map[testdb.Name]string{testdb.SQLite: "BLOB", testdb.MariaDB: "VARBINARY(255)"}[d.Name]
		if bytes == "" {
			bytes = "BYTEA"
		}
		vault := encryptiontest.Vault(t, "main")
		for i, driver := range d.Name.Drivers() {
			db := d.OpenWith(t, driver)
			name := "people" + string(rune('a'+i))
			for _, statement := range []string{
				`CREATE TABLE ` + name + ` (id INTEGER NOT NULL PRIMARY KEY, email ` + bytes + `, email_uq ` + bytes + ` UNIQUE, phone_uq ` + bytes + `)`,
				`CREATE UNIQUE INDEX ` + name + `_by_phone_uq ON ` + name + ` (phone_uq)`,
			} {
				_, err := db.ExecContext(t.Context(), statement)
				require.NoError(t, err)
			}
			people, err := vault.Table(encryption.Table{Name: name, Columns: []encryption.Column{
				{Name: "email", Index: []encryption.Index{{Column: "email_uq", As: encryption.Email, Unique: true}}}, {Name: "phone", Index: []encryption.Index{{Column: "phone_uq", As: encryption.LastDigits(9), Unique: true}}},
			}})
			require.NoError(t, err)
			w, err := people.Writer(t.Context(), "main", "p1")
			require.NoError(t, err)
			insert := func(id int, mail, phone string) error {
				query := `INSERT INTO ` + name + ` (id, email, email_uq, phone_uq) VALUES (?, ?, ?, ?)`
				if bytes == "BYTEA" {
					query = `INSERT INTO ` + name + ` (id, email, email_uq, phone_uq) VALUES ($1, $2, $3, $4)`
				}
				_, err := db.ExecContext(t.Context(), query, id, w.Text("email", mail), w.Index("email_uq", mail), w.Index("phone_uq", phone))
				return people.Exists(err)
			}
			require.NoError(t, insert(1, "ann@b.example", "044 668 18 00"))
			err = insert(2, "ANN@b.example", "044 668 18 01")
			require.ErrorIs(t, err, encryption.ErrExists, driver)
			require.ErrorContains(t, err, name+".email_uq")
			err = insert(3, "bob@b.example", "+41 44 668 18 00")
			require.ErrorIs(t, err, encryption.ErrExists, driver)
			require.ErrorContains(t, err, name+".phone_uq")
			err = insert(1, "cat@b.example", "044 668 18 02")
			require.Error(t, err)
			require.NotErrorIs(t, err, encryption.ErrExists, "the primary key")
		}
	})
}
