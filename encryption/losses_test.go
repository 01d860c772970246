package encryption_test

import (
	"context"
	"database/sql"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/encryption/jobs"
	"github.com/crmguard/crmguard/encryption/sealedvalue"
	"github.com/crmguard/crmguard/internal/testdb"
)

// cards has a cell that may be empty while another one is changed.
func cards(t *testing.T, s *two) *encryption.SealedTable {
	t.Helper()
	cell := bytesOf(s.database.Name)
	s.exec(t, s.db, `CREATE TABLE cards (id VARCHAR(40) NOT NULL PRIMARY KEY, person VARCHAR(60) NOT NULL, body `+cell+`, extra `+cell+`)`)
	table, err := s.a.Table(encryption.Table{Name: "cards", Columns: []encryption.Column{{Name: "body"}, {Name: "extra"}}})
	require.NoError(t, err)
	return table
}

// extraOf opens the cell for whoever the row belongs to now.
func extraOf(t *testing.T, s *two, table *encryption.SealedTable) string {
	t.Helper()
	var owner string
	var cell encryption.Sealed
	require.NoError(t, s.db.QueryRowContext(t.Context(), `SELECT person, extra FROM cards`).Scan(&owner, &cell))
	row, err := table.Row(t.Context(), tenant, owner, "c1")
	require.NoError(t, err)
	text, err := row.Text(t.Context(), "extra", cell.Bytes())
	require.NoError(t, err, "the value is lost")
	return text
}

func shorter(_ string, plaintext []byte) ([]byte, error) { return plaintext[:3], nil }

// A cell that was empty when Redact read the row, and is filled before it
// writes, does not go with the old record owner.
func TestARedactionLosesNoValueThatIsWrittenMeanwhile(t *testing.T) {
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		s := newTwo(t, d)
		table := cards(t, s)
		owner, err := encryption.NewRecordOwner()
		require.NoError(t, err)
		w, err := table.RecordWriter(t.Context(), tenant, owner)
		require.NoError(t, err)
		s.exec(t, s.db, `INSERT INTO cards (id, person, body) VALUES ('c1', ?, ?)`, owner, w.Text("body", "Ann and Bob"))
		_, err = table.Redact(t.Context(), s.db, tenant, "c1", jobs.Redaction{Edit: func(column string, plaintext []byte) ([]byte, error) {
			s.exec(t, s.second, `UPDATE cards SET extra = ? WHERE id = 'c1' AND person = ?`, w.Text("extra", "precious"), owner)
			return shorter(column, plaintext)
		}})
		require.ErrorContains(t, err, "try again")
		require.Equal(t, "precious", extraOf(t, s, table))
		_, err = table.Redact(t.Context(), s.db, tenant, "c1", jobs.Redaction{Edit: shorter})
		require.NoError(t, err)
		require.Equal(t, "pre", extraOf(t, s, table))
	})
}

// The same where Reseal moves a merged person's row.
func TestAMoveLosesNoValueThatIsWrittenMeanwhile(t *testing.T) {
	s := newTwo(t, testdb.New(t, testdb.SQLite))
	table := cards(t, s)
	w, err := table.Writer(t.Context(), tenant, "p1")
	require.NoError(t, err)
	require.NoError(t, s.a.Ensure(t.Context(), tenant, "p2"))
	s.exec(t, s.db, `INSERT INTO cards (id, person, body) VALUES ('c1', 'p1', ?)`, w.Text("body", "Ann"))
	require.NoError(t, s.a.AddAlias(t.Context(), tenant, "p1", "p2"))
	times := 0
	report, err := table.Reseal(t.Context(), s.db, tenant, jobs.ResealOptions{BeforeRow: func(ctx context.Context, tx *sql.Tx, _, _ string) error {
		if times++; times > 1 {
			return nil
		}
		// Stands for another process between the reading and the writing.
		_, err := tx.ExecContext(ctx, `UPDATE cards SET extra = ? WHERE id = 'c1' AND person = 'p1'`, w.Text("extra", "precious"))
		return err
	}})
	require.NoError(t, err)
	require.Equal(t, 1, report.Moved)
	require.Equal(t, "precious", extraOf(t, s, table))
}

// A trigger that keeps a column as it was: nothing is redacted, and nobody
// erased, where the database stored something else than was written.
func TestARedactionIsUndoneWhereTheDatabaseStoresSomethingElse(t *testing.T) {
	for _, kept := range []string{"extra", "person"} {
		for _, name := range []testdb.Name{testdb.PostgresC, testdb.MariaDB} {
			t.Run(kept+", "+string(name), func(t *testing.T) {
				s := newTwo(t, testdb.New(t, name))
				table := cards(t, s)
				owner, err := encryption.NewRecordOwner()
				require.NoError(t, err)
				w, err := table.RecordWriter(t.Context(), tenant, owner)
				require.NoError(t, err)
				s.exec(t, s.db, `INSERT INTO cards (id, person, body, extra) VALUES ('c1', ?, ?, ?)`, owner, w.Text("body", "Ann and Bob"), w.Text("extra", "precious"))
				if name == testdb.MariaDB {
					s.exec(t, s.db, `CREATE TRIGGER kept BEFORE UPDATE ON cards FOR EACH ROW SET NEW.`+kept+` = OLD.`+kept)
				} else {
					s.exec(t, s.db, `CREATE FUNCTION kept() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.`+kept+` := OLD.`+kept+`; RETURN NEW; END'`)
					s.exec(t, s.db, `CREATE TRIGGER kept BEFORE UPDATE ON cards FOR EACH ROW EXECUTE FUNCTION kept()`)
				}
				_, err = table.Redact(t.Context(), s.db, tenant, "c1", jobs.Redaction{Edit: shorter})
				require.ErrorIs(t, err, encryption.ErrDefinition)
				require.Equal(t, "precious", extraOf(t, s, table))
			})
		}
	}
}

// A tenant whose name the column writes otherwise is refused: its rows would
// not be counted, and the key version that they need destroyed.
func TestATenantThatTheColumnWritesOtherwiseIsRefused(t *testing.T) {
	const capitals = "AB000000-0000-4000-8000-00000000000A"
	for name, types := range map[testdb.Name]map[string]string{
		testdb.SQLite:    {"BLOB": "7", "REAL": "7"},
		testdb.PostgresC: {"uuid": capitals, "bigint": "007", "numeric(10,2)": "7"},
		testdb.MariaDB:   {"UUID": capitals, "BIGINT": "007", "DECIMAL(10,2)": "7", "INT(5) ZEROFILL": "7"},
	} {
		s := newTwo(t, testdb.New(t, name))
		cell := map[testdb.Name]string{testdb.SQLite: "BLOB", testdb.MariaDB: "LONGBLOB", testdb.PostgresC: "bytea"}[name]
		for kind, account := range types {
			notes := "notes_" + regexp.MustCompile(`[^a-z]`).ReplaceAllString(strings.ToLower(kind), "")
			if _, err := s.a.KeyVersions(t.Context(), account); err != nil {
				require.NoError(t, s.a.AddTenant(t.Context(), account))
			}
			s.exec(t, s.db, `CREATE TABLE `+notes+` (id INTEGER NOT NULL PRIMARY KEY, account `+kind+`, person VARCHAR(60), body `+cell+`)`)
			table, err := s.a.Table(encryption.Table{Name: notes, Tenant: "account", Columns: []encryption.Column{{Name: "body"}}})
			require.NoError(t, err)
			w, err := table.Writer(t.Context(), account, "p1")
			require.NoError(t, err)
			var stored any = account
			if kind == "BLOB" {
				stored = int64(7)
			}
			s.exec(t, s.db, `INSERT INTO `+notes+` VALUES (1, ?, 'p1', ?)`, stored, w.Text("body", "x"))
			_, err = table.Census(t.Context(), s.db, account)
			require.ErrorIs(t, err, encryption.ErrDefinition, "%s %s", name, kind)
			_, _, err = table.Holder(s.db)(t.Context(), account, 1)
			require.ErrorIs(t, err, encryption.ErrDefinition, "%s %s", name, kind)
			_, err = table.Reseal(t.Context(), s.db, account, jobs.ResealOptions{})
			require.ErrorIs(t, err, encryption.ErrDefinition, "%s %s", name, kind)
		}
	}
}

// A row that is on the list of lost cells under two spellings of its key is one.
func TestACellIsGivenUpOnce(t *testing.T) {
	s := newTwo(t, testdb.New(t, testdb.SQLite))
	s.exec(t, s.db, `CREATE TABLE bins (id BLOB NOT NULL PRIMARY KEY, person VARCHAR(40), body BLOB)`)
	table, err := s.a.Table(encryption.Table{Name: "bins", Columns: []encryption.Column{{Name: "body"}}})
	require.NoError(t, err)
	w, err := table.Writer(t.Context(), tenant, "p1")
	require.NoError(t, err)
	good, err := w.Seal("body", []byte("good"))
	require.NoError(t, err)
	bad := append([]byte(nil), good...)
	bad[len(bad)-1] ^= 1
	s.exec(t, s.db, `INSERT INTO bins VALUES (?, 'p1', ?)`, []byte("7"), bad)
	old, err := sealedvalue.KeyVersion(good)
	require.NoError(t, err)
	_, err = s.a.NewKeyVersion(t.Context(), tenant)
	require.NoError(t, err)
	report, err := table.Reseal(t.Context(), s.db, tenant, jobs.ResealOptions{})
	require.NoError(t, err)
	require.Len(t, report.Listed, 1)
	s.exec(t, s.db, `INSERT INTO bins VALUES (?, 'p1', ?)`, []byte("8"), good) // out of a backup
	again := report.Listed[0]
	again.Key = `\x37`
	n, _, err := table.Holder(s.db, report.Listed[0], again)(t.Context(), tenant, old)
	require.NoError(t, err)
	require.Equal(t, 1, n, "the good one still needs its key version")
}

// A text form that is damaged behind its head is counted by the census; so it
// is listed, too, and can be given up.
func TestADamagedTextFormIsListed(t *testing.T) {
	e := newEnv(t, 1)
	e.insert(t, "c1", "p1")
	old, _ := e.rotate(t)
	_, err := e.db.ExecContext(t.Context(), `UPDATE contacts SET phone = substr(phone, 1, length(phone) - 3) || '!!!' WHERE id = 'c1'`)
	require.NoError(t, err)
	report, err := e.contacts.Reseal(t.Context(), e.db, tenant, jobs.ResealOptions{})
	require.NoError(t, err)
	require.Len(t, report.Listed, 1)
	n, _, err := e.contacts.Holder(e.db)(t.Context(), tenant, old)
	require.NoError(t, err)
	require.Equal(t, 1, n)
	n, _, err = e.contacts.Holder(e.db, report.Listed...)(t.Context(), tenant, old)
	require.NoError(t, err)
	require.Zero(t, n)
}
