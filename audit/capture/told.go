package capture

// An Event is what the application recorded about one object in one transaction, as
// far as it may tell of captured changes: one event, or all of one pass together.
type Event struct {
	// Tx is the transaction, as a Row has it.
	Tx string
	// Tenant and Key are those of the object, as a Row names it: a person by the
	// person's own id.
	Tenant, Key string
	// Table is the one whose rows are objects of this kind: of several with one
	// Kind the first.
	Table string
	// Paths are the names of the changed fields that stand in the leaf: those that
	// Config.Fields declares. They are names of columns.
	Paths map[string]bool
}

// ToldBy says whether events that were recorded as done (ok or partial) have told of
// the change, so that it is not filed a second time: the same transaction recorded
// them about the row itself, and, of an update, they name each column that changed. So
// a reading in the transaction of an update does not hide the update, nor a change of
// one column that of another; in that of an insertion or a deletion any event about
// the row tells of it, as the names of actions are the application's. Whose value a field
// holds, the object's or that of a person who was named with it, makes no difference: it
// is the column of one row.
//
// Nothing tells of a truncation, of a row that has no key, of an update whose columns
// are not known, nor of a row of another table under the same key.
func (r Row) ToldBy(e Event) bool {
	switch {
	case r.Key == "" || r.check() != nil:
		return false
	case r.Tx != e.Tx || r.Tenant != e.Tenant || r.Table != e.Table || r.Key != e.Key:
		return false
	case r.Op != OpUpdate:
		return true
	}
	for _, column := range r.Cols {
		if !e.Paths[column] {
			return false
		}
	}
	return len(r.Cols) > 0
}
