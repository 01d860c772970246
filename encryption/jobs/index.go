package jobs

// RebuildReport says what Rebuild did.
type RebuildReport struct {
	Rows       int          // rows read in the last pass
	Corrected  int          // index values corrected
	Unreadable int          // indexed cells that do not open: their index columns stay as they are
	Listed     []Unreadable // the first 100 of them
	Refused    int          // index values that the database refuses to store
	Refusals   []Refused    // the first 100 of them
}

// FoundRow is a row that holds one of the identities.
type FoundRow struct {
	Table string // as it is named in SQL
	Key   string // of the row, as RowText writes it
	Owner string // whose keys seal it, "" where nobody is named
	// Confirmed says that the value was opened and is the one searched for. Where it
	// is false, the value does not open (its owner was erased, it is damaged): the
	// index says it is hers, or another one that is equal in so many bits.
	Confirmed bool
}
