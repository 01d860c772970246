// Package durable writes files that survive a crash: of the process and of the
// machine. It is the only place of the module that renames, links and flushes.
//
// # What it does
//
// A [Folder] is a directory and everything below it; names in it are
// slash-separated and lead nowhere else, whatever links somebody plants there.
// [Folder.Replace] puts a file in the place of another one, [Folder.Create]
// makes one that must not exist, [Folder.Append] adds to one, [Folder.MkdirAll]
// makes folders. What is too large for memory goes through a [Writer].
//
// # Promises
//
// A file is written under a name that nobody takes for a finished one, in the
// folder where it shall stand, and flushed; then it gets its name, and the
// folder is flushed. After nil, content and name outlive a power cut. After an
// error, and after a crash at any moment, under the name stands what stood
// there before or what was to stand there, either of them whole; with Create
// nothing or all. Only when the flush of the folder was what failed may the new
// file stand there after an error. A name that Create finds taken stays as it
// is. An error names the operation and the file, never what is in it.
//
// The unfinished files of killed processes have names that nothing else has,
// see [Folder.CleanUp].
//
// # Not promised
//
// Windows cannot flush folders, and some file systems (network and FUSE
// mounts) refuse it with EINVAL or ENOTSUP: there the order in which names
// reach the disk is up to the file system, and a power cut may cost a new name
// or bring an old one back. What a file holds is flushed there, too. Every
// other error of a flush is one: whoever gives up something older in favour of
// a new file must not do it after one.
//
// Where the file system has no hard links, Create gives the name by a rename
// under a claim that all users of this package honour; another program that
// makes the same name at the same moment is overwritten there. Modes are those
// of unix: Windows knows none of them.
//
// A disk that lies about flushing is not noticed.
//
// # Tests
//
// Everything runs over a [Disk]. Package durabletest has one that forgets what
// was not flushed, and one that fails where it is told to.
//
// All types but Writer are safe for concurrent use.
package durable
