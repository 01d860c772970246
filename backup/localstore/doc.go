// Package localstore keeps a backup repository in a folder of a local disk.
//
// What it does: one file of the repository is one file below the folder, in
// the layout that the restic program expects of a local repository.
//
// It promises: once Put returns nil the file survives a crash of the machine,
// whole and under its name; before, it is there whole or not at all. Files
// appear by temporary file, fsync, link, and fsync of the folder. Leftovers
// of an interrupted Put (tmp-…) are never listed or read, and go when the next
// job begins (by its first file in locks/), unless a living process holds
// them: each is locked while it is written. A folder that is missing, or is
// the empty mount point of a disk that is not mounted, is backup.ErrGone
// everywhere, and only Make, which backup.Create calls, makes one. Folders
// have mode 0700, files 0400. Names cannot leave the folder, not even through symbolic
// links.
//
// It does not promise: anything about disks that acknowledge a flush and
// forget it, and nothing on network file systems that do so. On Windows
// folders cannot be flushed. Where files cannot be locked (Windows, some
// network file systems) leftovers stay for a day; they are sealed like all
// else. Where there are no hard links, two programs that put the same name at
// the same moment may both succeed unless both are of this library; the last
// one's file stays.
//
// Which call first: [Open], then backup.Create or backup.Open.
//
// Concurrency: any number of goroutines and processes.
//
// Errors: fs.ErrExist from a Put of other bytes, fs.ErrNotExist from Read and
// Delete, backup.ErrGone from all, as backup.Store asks for; everything else
// comes from the operating system and names the file.
//
// Format and compatibility: restic's local layout.
package localstore
