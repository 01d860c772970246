// Package backup copies databases, attachments and configuration into
// repositories of the restic format, version 2, and brings them back.
//
// What it does. A [Job] reads several sources (a SQLite database through
// sub-package sqlitesource, folders of files through [Folder]), and commits
// them as ONE snapshot to one or several stores. Data is cut by a keyed
// content-defined chunker, deduplicated, compressed with zstd, sealed with
// AES-256-CTR and Poly1305-AES and packed into files that are named by their
// SHA-256. [Repository.Restore] brings a snapshot into an empty staging
// folder, proves it against the manifest, runs the caller's steps and only
// then marks it open; without a step that the manifest needs it refuses
// ([Manifest.Needs]). [Repository.Check] reads everything back.
//
// It promises:
//   - A snapshot exists only when every source was read without a fault, the
//     key copy covers it, and all packs and indexes are durable. A crash at
//     any moment leaves all earlier snapshots as they were.
//   - Several stores receive the same bytes under the same names. A store
//     that fails is reported, never hidden; the next run brings it up to
//     date with copies of what it lacks.
//   - All that is read is authenticated, bounded in size and hashed again.
//   - A damaged, foreign or missing file costs only what it carries. Opening,
//     listing, restoring another snapshot and running a job go on;
//     [Repository.Check] names each such file, a restore the files that it
//     lost ([LossError]), a job what it did not lean on ([StoreResult]).
//   - A store that has vanished, as an unmounted disk does, is an error and
//     never an empty repository. Only [Create] and [Repository.Mirror] make
//     the place of one.
//   - Each snapshot carries .crmguard/manifest.json: what was read, how many
//     rows and files, keyed digests of them, the key generations and the key
//     position that a restore needs, the ledger head and the audit checkpoint.
//   - The restic program (0.14 or newer) checks and restores the repository
//     without this library.
//
// It does not promise:
//   - to hide sizes: chunk lengths are harder to link to known files than
//     with a public polynomial, which is all that keyed chunking is good for.
//   - that a deleted or rolled-back snapshot is noticed from the repository
//     alone. Keep [Result.Snapshot] and [Result.Manifest] elsewhere (in the
//     audit trail) and hand the ids to [Repository.Check].
//   - that a job notices a pack whose bytes changed while its length did not:
//     only [ReadAll] reads packs. Remove the file that it names, and the next
//     run stores again what the sources still have of it.
//   - that a leaked password can be revoked: the master key behind it stays
//     for the life of the repository.
//   - that `restic restore` by hand keeps a forgotten person forgotten: it
//     returns their clear columns. Restore through this package, with steps.
//   - to expire old snapshots; `restic forget` and `restic prune` do that, to
//     every store alike.
//
// Which call first: [NewMachineKey], [Create] for the stores, then
// [Job.RunOnce]; in another process [Open]. After a disaster [Open] and
// [Repository.Restore] of [LatestOf] the job.
//
// Concurrency: a [Repository] may be used by several goroutines. Several
// jobs and the restic program may write to one repository at a time: each
// holds a shared lock file while it writes, and an exclusive lock of another
// program stops a job before it begins. Reading takes no lock. No goroutine
// outlives the call that started it.
//
// Errors, for [errors.Is]:
//
//	ErrPassword      permanent  no key file opens with this key: hand in the right one
//	ErrNoRepository  permanent  the store holds no repository: check its place, or Create
//	ErrGone          temporary  the store's place is not there: mount the disk; nothing was made in its stead
//	ErrExists        permanent  the store holds a repository already: Open it
//	ErrCorrupt       permanent  a file is damaged or missing (*FileError; *LossError: what a restore lost): bring it back from a mirror, run Check
//	ErrVersion       permanent  the repository has another format version: use the program that wrote it
//	ErrLocked        temporary  another program works exclusively: wait; after a crash of it `restic unlock`
//	ErrNoSnapshot    permanent  no snapshot has this id, several begin with it, or Latest could mean several jobs: list Snapshots, ask for LatestOf
//	ErrSource        temporary  a source failed (*SourceError), nothing was committed: mend it, run again
//	ErrChanged       temporary  a file changed while it was read, nothing was committed: run again
//	ErrKeyCopy       temporary  no verified key copy covers the snapshot, nothing was committed: copy keys, run again
//	ErrStore         temporary  a store failed (*StoreError); see Result.Stores for those that did not
//	ErrManifest      permanent  manifest missing, forged, or the data differs from it: take another snapshot
//	ErrTarget        permanent  the restore target is not an empty folder: choose another
//	ErrUnsafeName    permanent  the snapshot holds a name that leaves the target: do not trust this repository
//	ErrStep          depends    a step failed (*StepError), the target stays closed: remove the cause, restore again; or one that the manifest needs is missing (*NeedError): hand it in
//	ErrClosed        permanent  the folder is no restore that went through all steps: do not serve from it
//	ErrConfig        permanent  a field is missing or contradictory: the text names it
//
// Format and compatibility: restic repository format 2 as published; format 1
// is read, never written. Chunker, manifest and key derivation are those of
// formats.md, section 9, and may change until v0.1.0. testdata/ holds a frozen
// repository.
//
// Observed names: backup.run.seconds, backup.run.files, backup.run.bytes,
// backup.run.added, backup.store.failed, backup.store.damaged,
// backup.restore.seconds, backup.restore.bytes, backup.check.problems.
package backup
