package capture

import (
	"encoding/json"
	"fmt"
	"time"
)

// Columns are what a row is selected by, for [Scan]. Whoever may write the table puts
// as much into them as the database takes: of each a little more is read than a
// trigger writes, which is then no id, no name and no list.
const Columns = `n, id::text, left(tx, 64), at, left(tab, 256), left(kind, 256), left(COALESCE(tenant, ''), 256), left(COALESCE(key, ''), 256), left(COALESCE(person, ''), 256), left(op, 2), left(to_json(COALESCE(cols, '{}'))::text, 1048576), left(who, 256), left(COALESCE(actor, ''), 256)`

// ReadRows selects the oldest captured rows, as many as its one argument says;
// [Scan] reads them. Whoever has filed one deletes it by its number. A number is
// given when a row is written, not when it is committed: one that was passed
// over may still come, so each reading begins at the lowest that is there.
const ReadRows = `SELECT ` + Columns + ` FROM crmguard_audit_captured ORDER BY n LIMIT $1`

// A Row says that a row of a captured table changed. It holds no value of that
// row but its key and its tenant. Who may write the table of captured rows can
// write anything in it.
type Row struct {
	N       int64     // given by the database, unique in its table
	ID      string    // a UUID, drawn when the row was written: a dump and a copy of the database carry it
	Tx      string    // the transaction: its number and when it began, which no other has, also not on a server whose numbers begin anew
	At      time.Time // when the row was written, by the clock of the database
	Table   string    // as Table.Name
	Kind    string    // as Table.Kind
	Tenant  string    // "" where the row had none
	Key     string    // "" where it was not to be found, or is longer than an id may be, and for a truncation
	Person  string    // the id of the person whom the row is about, of Table.Person; "" where there is none
	Op      string    // one of the Op…
	Cols    []string  // names of columns, of an update only
	Who     string    // session_user: the role that logged in
	Claimed string    // what the session had set as crmguard.actor, "" for nothing
}

// What a row of a table went through.
const (
	OpInsert   = "i"
	OpUpdate   = "u"
	OpDelete   = "d"
	OpTruncate = "t" // of the whole table
)

// Scan reads a row of [ReadRows] with the Scan of *sql.Rows, of any driver, or
// of pgx.
func Scan(scan func(dest ...any) error) (Row, error) {
	var r Row
	var cols string
	var at int64
	if err := scan(&r.N, &r.ID, &r.Tx, &at, &r.Table, &r.Kind, &r.Tenant, &r.Key, &r.Person, &r.Op, &cols, &r.Who, &r.Claimed); err != nil {
		return Row{}, fmt.Errorf("capture: read a captured row: %w", err)
	}
	if err := json.Unmarshal([]byte(cols), &r.Cols); err != nil {
		return Row{}, fmt.Errorf("%w: its columns are no list of names", ErrRow)
	}
	r.At = time.UnixMicro(at).UTC()
	return r, nil
}
