package capture

// An Event is one that the application recorded, as far as it may tell of a
// captured change.
type Event struct {
	// Tx is the transaction that recorded it, as pg_current_xact_id() tells it.
	Tx uint64
	// Tenant and Object are as they stand in its leaf.
	Tenant string
	Object Object
	// Outcome is as it stands in its leaf.
	Outcome string
	// Changes is how many changed fields it names.
	Changes int
}

// ToldBy says whether an event has told of the change, so that it is not filed a
// second time: the same transaction recorded it about the same object, as done
// (ok or partial), and, of an update, with what has changed. A reading that was
// recorded in the transaction of an update does not hide the update; in that of
// a deletion or an insertion it does.
//
// Nothing tells of a truncation, nor of a row whose object the log cannot name.
func (l Leaf) ToldBy(e Event) bool {
	switch {
	case l.Object == (Object{}) || l.Op == OpTruncate:
		return false
	case l.Tx != e.Tx || l.Tenant != e.Tenant || l.Object != e.Object:
		return false
	case e.Outcome != "ok" && e.Outcome != "partial":
		return false
	}
	return l.Op != OpUpdate || e.Changes > 0
}
