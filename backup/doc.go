// Package backup copies databases, attachments and configuration into
// repositories of the restic format, version 2, and brings them back.
//
// The first lines; must stands for what is done about an error, and the example
// FirstLines has what stands around them:
//
//	key := must(backup.ParseMachineKey(password)) // the restic program takes the same password
//	a, b := must(localstore.Open(diskA)), must(localstore.Open(diskB))
//	repos := must(backup.Create(ctx, backup.Config{Key: key}, a, b)) // once; Open at every other start
//	job := backup.Job{Name: "nightly", Repositories: repos, Sources: []backup.Source{backup.Folder("attachments", attachments)}}
//	result := must(job.RunOnce(ctx)) // keep result.Snapshot elsewhere
//	problems := must(repos[1].Check(ctx, backup.ReadAll, result.Snapshot)).Problems
//	report := must(repos[1].Restore(ctx, result.Snapshot, staging, backup.Step{Name: "replay erasures", Run: replay}))
//	fmt.Println(len(problems), report.Verified, backup.Opened(staging) == nil)
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
//     key copy covers it, all packs and indexes are durable, and the job's
//     own lock was in the store and fresh all the time: a run that was
//     suspended for longer commits nothing. A crash at any moment leaves all
//     earlier snapshots as they were.
//   - It carries the time at which its run began. A clock that contradicts
//     the newest snapshot by more than half an hour makes none.
//   - Nothing is committed that this package would not read back: names of at
//     most 255 bytes, folders 1000 deep, a folder listing of 128 MiB (about
//     half a million files), a manifest of 16 MiB.
//   - Several stores receive the same bytes under the same names. A store
//     that fails is reported, never hidden; the next run brings it up to
//     date with copies of what it lacks. Only what authenticates and is
//     complete is copied, so a mirror changes nothing in another store.
//   - Of several that call [Create] for one store at a time one succeeds.
//   - All that is read is authenticated, bounded in size and hashed again. No
//     content of a file, cut out of a pack, passes for a snapshot, index or lock.
//   - A damaged, foreign or missing file costs only what it carries. Opening,
//     listing, restoring another snapshot and running a job go on;
//     [Repository.Check] names each such file, a restore the files that it
//     lost ([LossError]), a job what it did not lean on
//     ([StoreResult.Problems]). Of several stores those that lost packs fail
//     as long as one is whole, so that it need not hold everything twice.
//   - A store that has vanished, as an unmounted disk does, or holds another
//     repository by now, is an error and never an empty repository. One that
//     hangs loses its lock and costs only itself. Two names of one place are
//     not two copies. Only [Create] and [Repository.Mirror] make the place of
//     a store.
//   - Each snapshot carries .crmguard/manifest.json: what was read, how many
//     rows and files, keyed digests of them, the key versions and the key
//     position that a restore needs, the ledger head and the audit checkpoint.
//   - The restic program (0.14 or newer) checks and restores the repository
//     without this library.
//
// It does not promise:
//   - that an erasure reaches older snapshots: what was not sealed under a key
//     of the person stays readable in them.
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
//     every store alike: a snapshot that one store still has comes back to
//     the others, with its data.
//   - to copy keys and config between stores: add or remove a key in each.
//   - that a clock which runs ahead is noticed by the run itself. The next
//     one, with the clock set right, names the snapshot; remove it before
//     anything expires snapshots by age.
//
// Which call first: [NewMachineKey] (which gives manifests their key, too,
// where no vault of package encryption does), [Create] for the stores, then
// [Job.RunOnce]; in another process [Open]. After a disaster [Open] and
// [Repository.Restore] of [LatestOf] the job.
//
// Concurrency: a [Repository] may be used by several goroutines. Several
// jobs and the restic program may write to one repository at a time: each
// holds a shared lock file while it writes, and an exclusive lock of another
// program stops a job before it begins. Reading takes no lock. No goroutine
// outlives the call that started it; a store that does not return when its
// context ends therefore holds up the run, and so does one that renews its lock
// and answers nothing else: give the context a deadline. A panic of a source or of another
// func of the [Job] reaches the caller of RunOnce, without a snapshot.
//
// Errors, for [errors.Is]:
//
//	ErrPassword      permanent  no key file opens with this key: hand in the right one
//	ErrNoRepository  permanent  the store holds no repository: check its place, or Create
//	ErrGone          temporary  the store's place is not there: mount the disk; nothing was made in its stead
//	ErrExists        permanent  the store holds a repository already: Open it, and Mirror it to stores that lack it
//	ErrCorrupt       permanent  a file is damaged or missing (*FileError; *LossError: what a restore lost): bring it back from a mirror, run Check
//	ErrVersion       permanent  the repository has another format version: use the program that wrote it
//	ErrLocked        temporary  another program works exclusively: wait; after a crash of it `restic unlock`
//	ErrLockLost      temporary  the job was suspended, or its lock removed or not renewed, nothing was committed: run again
//	ErrNoSnapshot    permanent  no snapshot has this id, several begin with it, or Latest could mean several jobs: list Snapshots, ask for LatestOf
//	ErrSource        temporary  a source failed (*SourceError), nothing was committed: mend it, run again
//	ErrChanged       temporary  a file changed while it was read, nothing was committed: run again
//	ErrKeyCopy       temporary  no verified key copy covers the snapshot, nothing was committed: copy keys, run again
//	ErrLimit         permanent  more than a repository holds (a path, name, folder or manifest), nothing was committed: split the source
//	ErrClock         permanent  the clock is wrong, or the newest snapshot is (*FileError): set the clock, or remove that snapshot everywhere
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
// backup.run.added, backup.store.failed, backup.store.problems,
// backup.restore.seconds, backup.restore.bytes, backup.check.problems.
//
// [Repository.Status] answers findings of its store, whose name is their
// subject, all of them each time; where a job has a line of its own, "store/job"
// is. [Job.Status] adds backup.mirror.behind to those of its repositories. What
// cannot be read leaves backup.store alone:
//
//	backup.store              stores     alarm: it does not answer, or is not this repository any more
//	backup.snapshots.damaged  snapshots  alarm: they cannot be read
//	backup.snapshot.age       s          newest of each job; alarm: none, older than [Config].MaxAge, or from the future
//	backup.locks.dead         locks      not renewed for half an hour, or from the future; notice, of an exclusive one alarm: no job begins
//	backup.check.problems     problems   alarm: the last [Repository.Check] of this process found some (processes that check)
//	backup.mirror.behind      snapshots  lacking, held by another store of the job; notice, alarm after MaxAge
package backup
