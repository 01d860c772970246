// Package stranger is a CRM whose schema other people wrote, with a few persons in
// it and a true data map: what every promise of package privacy is shown on. (For
// a large CRM with keys of every kind see internal/testdb/stranger.)
//
// The .sql files are what an application has on each database: persons that are
// row numbers beyond 2^53, companies that are UUIDs, e-mail addresses that are
// UNIQUE and NOT NULL without regard to case, an enum, JSON of which only some
// members are personal, a table that refers to itself and one that refers to
// persons twice, comments on "a Contact, a Company or a Deal", invoices and their
// lines under composite keys and a deferred constraint, deals of several persons,
// a mailing list that knows addresses only, rows without a date, merged persons,
// an outbox, checks, cascades, a STRICT table, and tables without personal data.
//
// tables.go says what stands in each column, and what an erasure does to it. From
// that come the rows, [World.Needles] (what has to be gone) and [World.Kept] (what
// has to stay), so that they cannot differ. The first persons have habits that
// data has: see [Habits].
//
// For tests only.
package stranger
