package encryption_test

import (
	"database/sql"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/encryption/encryptiontest"
	"github.com/crmguard/crmguard/encryption/sqlkeys"
	"github.com/crmguard/crmguard/internal/testdb"
)

// colocated is the finding, where there is one.
func colocated(t *testing.T, vault *encryption.Vault) []encryption.Finding {
	t.Helper()
	all, err := vault.Status(t.Context())
	require.NoError(t, err)
	var out []encryption.Finding
	for _, f := range all {
		if f.Name == "encryption.store.colocated" {
			out = append(out, f)
		}
	}
	return out
}

// Keys on the server of what they seal raise an alarm: where the configuration
// names the database, and where a job brings it.
func TestKeysBesideTheirDataRaiseAnAlarm(t *testing.T) {
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		keyDB := d.Open(t)
		beside := testdb.New(t, d.Name).Open(t)
		if d.Name == testdb.SQLite {
			beside = d.Open(t) // the same file
		}
		apart := testdb.New(t, testdb.SQLite).Open(t) // of another kind, or another file
		for _, db := range []*sql.DB{beside, apart} {
			_, err := db.ExecContext(t.Context(), `CREATE TABLE people (id INTEGER NOT NULL PRIMARY KEY, person VARCHAR(50), email VARCHAR(100))`)
			require.NoError(t, err)
		}
		require.NoError(t, sqlkeys.Install(t.Context(), keyDB))
		store, err := sqlkeys.Open(t.Context(), keyDB)
		require.NoError(t, err)
		cfg := encryption.Config{Keys: store, KEK: kekFor}
		vault, err := encryption.Create(t.Context(), cfg)
		require.NoError(t, err)
		require.NoError(t, vault.AddTenant(t.Context(), "main"))
		require.Empty(t, colocated(t, vault), "no database is known")

		people, err := vault.Table(encryption.Table{Name: "people", Columns: []encryption.Column{{Name: "email", Text: true}}})
		require.NoError(t, err)
		census := func(db *sql.DB) {
			t.Helper()
			_, err := people.Census(t.Context(), db, "main")
			require.NoError(t, err)
		}
		census(apart)
		found := colocated(t, vault)
		require.Len(t, found, 1)
		require.Equal(t, encryption.HealthOK, found[0].Level)
		require.Empty(t, found[0].Remedy)
		census(beside)
		found = colocated(t, vault)
		require.Equal(t, encryption.HealthAlarm, found[0].Level)
		require.EqualValues(t, 1, found[0].Value)
		require.Contains(t, found[0].Remedy, "a server of its own")

		cfg.Data = []*sql.DB{apart, beside, nil, beside}
		vault, err = encryption.Open(t.Context(), cfg)
		require.NoError(t, err)
		found = colocated(t, vault)
		require.Equal(t, encryption.HealthAlarm, found[0].Level)
		require.EqualValues(t, 1, found[0].Value)
	})
}

// A database that cannot be asked does not take the other findings away: one of
// the configuration is said to be unknown, one of a job is forgotten, and what
// was found stays found.
func TestADatabaseThatDoesNotAnswerIsNotTakenForOneApart(t *testing.T) {
	open := func() *sql.DB {
		db := testdb.New(t, testdb.SQLite).Open(t)
		_, err := db.ExecContext(t.Context(), `CREATE TABLE people (id INTEGER NOT NULL PRIMARY KEY, person TEXT, email TEXT)`)
		require.NoError(t, err)
		return db
	}
	d := testdb.New(t, testdb.SQLite)
	keyDB, same, configured, job := d.Open(t), d.Open(t), open(), open()
	require.NoError(t, sqlkeys.Install(t.Context(), keyDB))
	store, err := sqlkeys.Open(t.Context(), keyDB)
	require.NoError(t, err)
	vault, err := encryption.Create(t.Context(), encryption.Config{Keys: store, KEK: kekFor, Data: []*sql.DB{configured}})
	require.NoError(t, err)
	require.NoError(t, vault.AddTenant(t.Context(), "main"))
	people, err := vault.Table(encryption.Table{Name: "people", Columns: []encryption.Column{{Name: "email", Text: true}}})
	require.NoError(t, err)
	_, err = people.Census(t.Context(), job, "main")
	require.NoError(t, err)
	require.NoError(t, job.Close())
	require.Equal(t, encryption.HealthOK, colocated(t, vault)[0].Level)
	require.NoError(t, configured.Close())
	require.Equal(t, encryption.HealthNotice, colocated(t, vault)[0].Level)

	_, err = same.ExecContext(t.Context(), `CREATE TABLE people (id INTEGER NOT NULL PRIMARY KEY, person TEXT, email TEXT)`)
	require.NoError(t, err)
	_, err = people.Census(t.Context(), same, "main")
	require.NoError(t, err)
	require.Equal(t, encryption.HealthAlarm, colocated(t, vault)[0].Level)
	require.NoError(t, same.Close())
	require.Equal(t, encryption.HealthAlarm, colocated(t, vault)[0].Level)
}

// A key store that cannot tell is asked nothing.
func TestAKeyStoreThatCannotTellIsNotAsked(t *testing.T) {
	db := testdb.New(t, testdb.SQLite).Open(t)
	vault, err := encryption.Create(t.Context(), encryption.Config{Keys: encryptiontest.Keys(), KEK: kekFor, Data: []*sql.DB{db}})
	require.NoError(t, err)
	require.Empty(t, colocated(t, vault))
}
