// Package randomschema makes schemas that nobody thought of, with a data map that
// is true for them, and data of a few persons in two tenants: what the properties
// of package privacy are shown on.
//
//	rapid.Check(t, func(rt *rapid.T) {
//		c := randomschema.Draw(rt, testdb.PostgresC, randomschema.Options{})
//		handle, err := c.Create(ctx, database) // and c.Drop at the end
//		db := wholedb.DB{Name: c.Name, SQL: handle}
//		… erase c.People[0] under c.Map …
//		db.Search(t, c.Needles(0))   // must find nothing
//		wholedb.Lost(db.Search(t, c.Kept(0)), c.Kept(0)) // must be empty
//	})
//
// A schema has a table of persons, whose id is a number, a UUID or a text, some of
// whom were merged into others, and up to seven tables that lead to it: over a
// column with the person's id, over a key of one or several columns (an ENUM, a
// text without regard to case) or a UNIQUE column of another table, over "a Person
// or a Thing", over an e-mail address, over a link table with or without columns
// of its own; rows may be of two persons, name others of their table, or point to
// a person whom they are not about. Columns are NOT NULL, UNIQUE or checked; foreign keys are absent, plain,
// deferred, or cascade where that is right. An address may be sealed, of the persons
// under their keys, and one of several; a record of several persons may have keys
// of its own, which a redaction retires; a row may go with whom it points to, and
// what points to it with it. Rows go, stay without the person
// (emptied, redacted, made coarser, pseudonymised, scrubbed, or under a key that
// is destroyed), or are kept, with what hangs on them, for an obligation whose
// date is written in every form, or cannot be read. Values are empty, large, hold
// what is not seen, ids and addresses may differ in nothing but that, or begin with those of
// others, and keys hold what is written where keys are joined and quoted.
//
// For tests only.
package randomschema
