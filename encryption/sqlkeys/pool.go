package sqlkeys

import (
	"database/sql"

	"github.com/crmguard/crmguard/encryption/keystore"
)

// Inside reads the keys in a transaction of the application, where that is one
// of the very pool that the keys are read through, and nil otherwise: a pool of
// one connection has no second one to ask. It writes nothing. The transaction is
// one that sees at each statement what others have committed.
func (s *Store) Inside(db *sql.DB, tx *sql.Tx) keystore.Tx {
	if s.db.DB != db {
		return nil
	}
	return &keyTx{tx: tx, dialect: s.db.Dialect}
}
