package sqlkeys

import "database/sql"

// Within reports whether the keys are read through this pool of connections. A
// job that asks for keys in a transaction of its own needs a second one there.
func (s *Store) Within(db *sql.DB) bool { return s.db.DB == db }
