package backup

import "fmt"

// The limits of this package, each stated once: a reader refuses what lies
// beyond, before it pays for it, and a writer commits nothing that a reader
// would refuse.
const (
	maxSmallFile  = 64 << 20  // bytes of a config, index, snapshot or lock, sealed or opened
	maxKeyContent = 64 << 10  // bytes of a key file
	maxPackFile   = 512 << 20 // restic's largest is 128 MiB
	maxPackHeader = 16 << 20
	maxBlobSize   = 128 << 20           // bytes of a blob, sealed or opened: a chunk or a folder listing
	maxManifest   = 16 << 20            // bytes of .crmguard/manifest.json
	maxDepth      = 1000                // folders inside each other: deeper ones are an attack on the stack
	maxForeign    = 4096                // bytes of a name that another program wrote
	maxName       = 255                 // bytes of a name that we write: file systems hold no longer one
	maxPlainBlob  = maxBlobSize - 1<<20 // bytes of a blob that we write: what does not compress grows a little
)

// What a writer closes before it reaches a limit of the reader or of restic.
const (
	packTarget    = 16 << 20 // a pack is closed once it is this long,
	maxPackBlobs  = 10_000   // or holds this many blobs: header and index stay short
	maxIndexBlobs = 40_000   // an index file is closed once it names this many: below restic's 8 MiB
)

// tooLarge is what a writer answers at a limit.
func tooLarge(what string, n, limit int, unit string) error {
	return fmt.Errorf("%w: %s of %d %s, the limit is %d", ErrLimit, what, n, unit, limit)
}
