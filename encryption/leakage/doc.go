// Package leakage measures what the blind indexes of a column give away before
// they are made, on the values that stand there.
//
// # What it measures
//
// An index column shows which rows hold the same value, and so how often each
// value occurs. Whoever reads it and knows how often values occur elsewhere, in a
// census or an older export, puts both in the order of their frequency and takes
// the most frequent index value for the most frequent value, the second for the
// second. [Measure] does that: it learns the order from one half of the rows, drawn by
// lot, and attacks the others, at the width of the index and at 8 bits, and counts how
// many rows it names rightly ([Report]). Where values are equally frequent it counts
// what guessing among them names, and where taking the most frequent value for all of
// them names more, that. It does so with 25 drawings, and tells the average. In which
// order the rows come does not matter.
//
// On 3,000 contacts of 30 countries the attack names, of 1,500 rows,
//
//	column    values  most frequent  at 8 and at 32 bits
//	Gender    2       53.4 %         1,400 to 1,500
//	Title     4       51.8 %         1,380 to 1,500
//	Country   31      4.1 %          40 to 66
//	Surname   2,167   0.3 %          0 to 4
//
// by what is drawn (a test reproduces it where the contacts are at hand),
// so that an index on a column with few values hides nothing, however narrow it
// is, and one on names hides nearly everything, however wide. Narrow indexes cost
// rows that are found besides ([Report.Collisions]) and change the attack little.
//
// # What it refuses
//
// An index by which more than [DefaultShare] of the rows are named, one in
// twenty, is a [RefusedError] (ErrLeakage), which names the remedy: do not index
// the column, or say in [Options.AcceptLeakage] why it may be. One in twenty is
// what separates columns on which the attack works from those on which it does
// not: between them there is a wide gap (above: nine in ten and one in
// twenty-two), and a column whose most frequent value is that frequent is named to
// that share by guessing it everywhere.
//
// # What it does not say
//
//   - It is one attack, and a better informed one recovers more: who knows single
//     rows, pairs two index columns of one row, or sees which rows are searched
//     for. That nothing was recovered is no proof that nothing can be.
//   - Equality stays: two rows with one value are seen to have one, and whoever
//     learns a value once knows all its rows.
//   - Columns change. What was measured on few rows says little of many: measure
//     again when the table has grown.
//   - A value of its own, as an e-mail address, is not recovered by frequency; that
//     somebody who may search tries addresses is another matter.
//
// # Use
//
//	reports, err := leakage.Measure(contacts, "email", leakage.Plain(ctx, db, "contacts", "email"), leakage.Options{})
//
// before the column is sealed, and with [encryption.SealedTable.Opened] in place of
// Plain when it is. Any sequence of values will do. Memory is bounded: of more rows
// than [Options.Sample] a random sample is kept, as digests under a key that is
// forgotten; no value is.
//
// # Errors
//
// ErrLeakage until the definition changes or says that it is accepted;
// encryption.ErrDefinition for a column that is not declared, a name in
// AcceptLeakage that is none of its indexes, and a normaliser that is not steady;
// everything else is what the sequence of values answered.
package leakage
