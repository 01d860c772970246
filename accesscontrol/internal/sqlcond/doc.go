// Package sqlcond holds conditions about one record in a form that has two
// readings: [Cond.Eval] says what the condition is of a record that somebody
// holds in memory, and a [Writer] writes it as SQL that selects the same
// records from a table. It knows nothing of policies; whoever builds a
// condition has already evaluated everything that does not look at the record.
//
// Both readings have three outcomes. [Failed] is an error in the terms of
// Cedar and NULL in the terms of SQL. Where the two differ, NULL OR TRUE is
// TRUE and an error before || is an error, [And], [Or] and [If] build what SQL
// reads as Cedar does.
//
// A Cond is immutable and safe for concurrent use. Eval allocates nothing.
package sqlcond
