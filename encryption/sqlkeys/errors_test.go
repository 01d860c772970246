package sqlkeys_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/encryption/keystore"
	"github.com/crmguard/crmguard/encryption/sqlkeys"
	"github.com/crmguard/crmguard/internal/testdb"
)

// Whatever a database says about a person's row, an error of the store does not
// repeat it: here a trigger of the administrator's quotes the owner and the KEK.
func TestErrorsNameNoOwner(t *testing.T) {
	trigger := map[testdb.Name][]string{
		testdb.SQLite: {
			`CREATE TRIGGER a BEFORE INSERT ON crmguard_encryption_owner BEGIN SELECT RAISE(ABORT, 'refused ' || NEW.owner); END`,
			`CREATE TRIGGER b BEFORE UPDATE OF kek ON crmguard_encryption_store BEGIN SELECT RAISE(ABORT, 'refused ' || NEW.kek); END`,
		},
		testdb.PostgresC: {
			`CREATE FUNCTION quote_owner() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'refused %', NEW.owner USING DETAIL = NEW.owner; END $$`,
			`CREATE TRIGGER a BEFORE INSERT ON crmguard_encryption_owner FOR EACH ROW EXECUTE FUNCTION quote_owner()`,
			`CREATE FUNCTION quote_kek() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'refused %', NEW.kek USING CONSTRAINT = NEW.kek; END $$`,
			`CREATE TRIGGER b BEFORE UPDATE OF kek ON crmguard_encryption_store FOR EACH ROW EXECUTE FUNCTION quote_kek()`,
		},
		testdb.MariaDB: {
			`CREATE TRIGGER a BEFORE INSERT ON crmguard_encryption_owner FOR EACH ROW SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = NEW.owner`,
			`CREATE TRIGGER b BEFORE UPDATE ON crmguard_encryption_store FOR EACH ROW BEGIN IF NEW.kek <> OLD.kek THEN SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = NEW.kek; END IF; END`,
		},
	}
	trigger[testdb.PostgresICU] = trigger[testdb.PostgresC]
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		for _, driver := range d.Name.Drivers() {
			db := testdb.New(t, d.Name).OpenWith(t, driver)
			require.NoError(t, sqlkeys.Install(t.Context(), db))
			store, err := sqlkeys.Open(t.Context(), db)
			require.NoError(t, err)
			for _, statement := range trigger[d.Name] {
				must(t, db, statement)
			}
			for _, change := range []keystore.Change{
				{Put: keystore.Rows{Owners: []keystore.OwnerRow{{Tenant: "main", Owner: "Ann-Smith-4711", State: "live"}}}},
				{Store: &keystore.State{Store: "store", KEK: "kek Ann-Smith-4711"}},
			} {
				_, err = store.Update(t.Context(), func(tx keystore.Tx) error { return tx.Write(t.Context(), change) })
				require.ErrorContains(t, err, "sqlkeys: ")
				require.ErrorContains(t, err, "the database refused (")
				require.NotContains(t, err.Error(), "Smith")
			}
		}
	})
}
