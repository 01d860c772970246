// Package gormcapture records in a trail of package audit what GORM creates,
// updates and deletes, in the transaction that does it, without touching the call
// sites. It is a module of its own: until there is a tag, go.mod needs a replace line
// for it beside that of crmguard
// (replace github.com/crmguard/crmguard/audit/gormcapture => ../crmguard/audit/gormcapture).
//
//	plugin, err := gormcapture.Register(db, trail,
//		gormcapture.Model{Of: &Contact{}, Kind: "contact", Person: true},
//		gormcapture.Valued(gormcapture.Model{Of: &Deal{}, Kind: "deal", Skip: []string{"seen"}}, deals)) // an audit.Differ
//	db = db.WithContext(ctx) // from which Config.From of the trail takes tenant, actor and request
//	db.Model(&Contact{ID: person}).Update("stage", "customer") // contact.update, in the same transaction
//
// # What it promises
//
//   - One event a row, with the action kind.create, kind.update or kind.delete: by
//     structs, slices, batches, maps, models, conditions, tables without a model
//     (db.Table), associations, generics, soft deletions. Rows that conditions name
//     are looked for (FOR UPDATE, not on SQLite) before the statement. Whether an
//     insertion with ON CONFLICT inserted or updated no database says: it is
//     kind.save. Where fewer rows changed than were met (a condition of the conflict,
//     a trigger, on MariaDB what was there already) the outcome is partial.
//   - An update is recorded with the names of the columns that it sets, without
//     values ([audit.Absent] on both sides); with [Valued] with the values that
//     really changed. A statement that changes no row is no event. One that sets the
//     key is told of under both keys, under the old one without values.
//   - The event commits with the rows, or neither does, nested transactions and
//     savepoints included. Where GORM was told to begin no transaction
//     (SkipDefaultTransaction) one is begun for statements on these models.
//   - A row is recorded once: not, where a hook of its statement calls
//     [Plugin.Record] about it and does not take that back, nor under [ByHand]. A
//     row is named as package audit/capture names it, so that what its triggers
//     captured of the same transaction is told of.
//
// # Prepare
//
// Outside of a transaction nothing is to be done: what the event needs is prepared
// before one begins. Before a transaction of the application's own call
// [audit.Trail.Prepare] with the persons, or [Plugin.Prepare] with the rows; so
// before CreateInBatches and with CreateBatchSize, whose transaction GORM begins
// before a plugin hears of the rows. Who forgot it, or learns only within
// whom it is about, has it made good for there, on another connection, for some
// seconds at most; where none can be had (a pool of one; SQLite, whose one writer
// the transaction is) the error is audit.ErrNotPrepared, and the transaction rolls
// back. An id of a person that the database itself draws is known only within.
//
// # Erasing
//
// The row first, then [audit.Trail.Erase]: the deletion of a person's row is an event,
// under a [Valued] model with all that the row said. Behind the erasure it would be
// recorded about a new surrogate, which nothing has erased; Trail.Left counts it, and
// audit.erased of Trail.Status says so. Where the row is deleted later all the same,
// do it [ByHand], which records nothing, or erase once more.
//
// # What it does not
//
// SQL of the application's own (Raw, Exec) is not seen, nor what the database does
// by itself (cascades, triggers): package audit/capture sees those, on PostgreSQL.
// A statement of more than a thousand rows, of rows that cannot be named (an
// insertion from a map, LIMIT, joins), or whose ids the database does not give
// back, is one event without an object, with the count. An event that a hook
// records by Trail.Record itself is not noticed: use [Plugin.Record].
// db.Table with a name other than the model's own (a schema before it, an alias)
// is another table.
//
// On MySQL and MariaDB an update that sets what is there already is no row
// affected, and no event; elsewhere it is one. Where it is some rows of several,
// which ones is known of a [Valued] model alone. Where a key is set to what the
// database computes, the row is named by its old key.
//
// # Errors
//
//	ErrModel              permanent   correct the description: the error says what
//	ErrRows               temporary   repeat the statement: rows came while it ran
//	audit.ErrNotPrepared  temporary   Prepare, then the transaction again
//
// Those of package audit come through as they are; all of them roll the statement
// back.
//
// # Format and compatibility
//
// It has none of its own: what it writes are events of package audit. Register
// once a *gorm.DB, at the start. Settling: the Go API may change until v0.1.0. All
// is safe for concurrent use.
package gormcapture
