// Package datamap describes where an application keeps data about persons:
// which tables and columns, how each row leads to a person, and what an erasure
// does to it.
//
//	m := &datamap.Map{Tenant: "main", Tables: []datamap.Table{
//		{Name: "contacts", Key: []string{"id"}, Person: "id", Created: "created", Erase: datamap.Delete,
//			Edges: []datamap.Edge{{Columns: []string{"reports_to"}, Table: "contacts", Unlink: datamap.Null}},
//			Columns: []datamap.Column{{Name: "email", Category: "contact.email", Identity: "email"}}},
//		{Name: "comments", Key: []string{"id"}, Erase: datamap.Delete,
//			Edges: []datamap.Edge{{Columns: []string{"subject_id"}, Table: "contacts", When: []datamap.When{{Column: "subject_type", Is: "Contact"}}}},
//			Columns: []datamap.Column{{Name: "body", Category: "text"}}},
//	}}
//	check(m.Validate())
//
// # Promises
//
// A map is plain data: it touches no database. [Map.Validate] refuses what
// cannot be true: a personal column that no person reaches, an edge into
// nothing, an action that is missing or cannot be carried out, a kept row that
// nobody would find when its obligation ends.
//
// # Does not promise
//
// That the map is complete: liveschema.Check compares it with the live schema,
// and liveschema.Propose writes a first one. What nobody has stated yet (a
// category, a purpose, a legal basis) is no error but in [Map.Gaps].
//
// # First call
//
// [Map.Validate], in a test of the application.
//
// # Concurrency
//
// A Map is not changed by anybody after it was handed in.
//
// # Errors
//
//	ErrMap  permanent  mend the map: the text names table and column
//
// Stability: settling.
package datamap
