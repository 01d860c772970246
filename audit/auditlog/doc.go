// Package auditlog is the log that package audit keeps, for whoever reads it: its
// bytes, and whether they are what was signed. It knows no database and holds no
// keys, so that an auditor takes it alone.
//
//	report, err := auditlog.VerifyLog(ctx, os.DirFS(folder), auditlog.Trust{Key: verifier, Kept: checkpoint})
//	fmt.Println(report.Verdict, report.Verified, err)
//
// [VerifyLog] reads a published folder from the first entry to the last;
// [VerifyHashes] leaves out what entries say, for who verifies often;
// [Verify] checks one entry with its proof, without the folder; [Entries] hands
// out what lies there, unchecked; [Walk] does all of it over files that lie
// elsewhere. [ParseLeaf] says what an entry says.
//
// # Promises
//
//   - The verdict is [OK] only where every entry, every hash and the signature fit,
//     and the log continues a checkpoint that was kept elsewhere. Without one it is
//     [Unanchored] at best: the newest entries may have been cut off, and whoever
//     holds the signing key may have rewritten everything.
//
//   - What cannot be read ([Incomplete]) is told apart from what was changed
//     ([Tampered]), and both from an older state ([RolledBack]) and from another
//     history ([Forked]).
//
//   - One leaf, opening or row has one spelling. What is written can be read, and
//     what is read is checked over the bytes as received.
//
//   - Reading takes memory for two bundles of 256 entries a processor, for 16
//     bundles and some 8 MiB of them at most and always for one, and for one tile a
//     level, however long the log is. No error shows what an entry holds.
//
//   - Whoever may write the folder keeps no reader waiting and leads none elsewhere:
//     pipes are not opened, no link in the folder is followed (the folder itself may
//     be behind one), and of no file is more read than it can have. A deadline of the
//     context ends the wait for a file system that hangs. A log is as long as its
//     checkpoint says: over a file system that makes up files, only a deadline ends
//     the verification of 2^62 entries that somebody has signed.
//
// # Not promised
//
//   - That a log is complete: what was never recorded is not in it.
//   - By [VerifyHashes], that each entry is a leaf: whoever holds the signing key can
//     sign one that is none. [VerifyLog] finds it.
//   - That times are right: they are the application's clock, except that a beat
//     says where it stands.
//   - Who acted, in a leaf of kind capture: it says that the database was changed.
//
// # Errors
//
//	ErrInvalid     permanent   correct Trust, or what was handed in
//	ErrMalformed   permanent   these bytes are no leaf, opening, row, proof or checkpoint
//	ErrTooLarge    permanent   a leaf above 65,535 bytes, an opening above 16 MiB
//	ErrTampered    permanent   these bytes are not what was signed, sealed or committed to
//	ErrNotSigned   permanent   take the verifier key of this log; ErrTampered too
//	ErrForked      permanent   two histories exist; find out which is true
//	ErrRolledBack  permanent   the log is shorter than it was
//
// # Concurrency
//
// Everything but a [Walk], which is for one verification, is safe for concurrent
// use. A verification checks entries on as many goroutines as there are processors
// (GOMAXPROCS, eight at most), which end before it returns, however it ends. They
// run nothing that was handed in: a Walk's funcs are called by the goroutine of the
// caller. The files of an fs.FS are opened and read by one of their own, one after
// another, where the context can end: it is left behind then, until the file system
// answers.
//
// # Format and compatibility
//
// The folder is C2SP tlog-tiles v1 with entry bundles, the checkpoint a C2SP
// signed note, proofs c2sp.org/tlog-proof@v1, so that tools we did not write read
// them. Leaves, commitments and openings are those of the library's formats
// document, frozen in testdata. Bytes and Go API may change until v0.1.0.
package auditlog
