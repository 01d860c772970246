// Package sqlitesource backs up a SQLite database through its *sql.DB.
//
// What it does: VACUUM INTO makes a private, transaction-consistent copy; the
// declared blind index columns are set to NULL in that copy, which is then
// vacuumed into a second one; integrity_check reads that one; the manifest
// gets a keyed digest of every table; the file goes into the snapshot.
//
// It promises: the snapshot holds no free page and no value of a stripped
// column, neither in rows, nor in indexes, nor in statistics. Triggers do not
// run while columns are stripped. The live database is only read.
//
// A killed process leaves its private copy behind. The next job that has the
// same Config.Staging removes it: the lock of the folder, which goes with the
// process, tells it from the copy of a job that lives. Where there are no such
// locks (Windows, some network file systems), a job has to have been silent for
// 30 minutes, by the modification time of its folder, which it refreshes.
//
// It does not promise: to hide the private copy from who reads the staging
// folder while the job runs. It has mode 0700 and is removed on every path
// out of the run. Set Config.Staging to a folder of the same machine, on the
// disk where the database is, before which others have no access; two machines
// that share one may not see each other's locks.
//
// Which call first: [New]; [VerifyRows] is the first step of a restore.
//
// Concurrency: a source belongs to one job at a time. It takes one connection
// of the pool, for the time of the copy.
//
// Errors: they come wrapped in backup.ErrSource; nothing was committed, run
// the job again. [ErrStrip] is permanent: a declared column does not exist in
// any spelling of its case, or cannot be NULL. [ErrIntegrity] is permanent: the database is damaged.
// errors.ErrUnsupported is permanent: the handle is of another database.
//
// Format and compatibility: one SQLite file; digests as in formats.md,
// section 9. A row's key is its primary key as text (integers in decimal,
// blobs in lower-case hex, compound keys escaped and joined by '/'), or its
// rowid where none is declared. The fields are all columns but the stripped
// ones, under their SQLite storage class; text that is not valid UTF-8 counts
// as bytes.
package sqlitesource
