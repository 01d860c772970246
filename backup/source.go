package backup

import (
	"context"
	"errors"
)

// Source is something to back up.
type Source interface {
	// Name is the source's folder in the snapshot: 1 to 64 letters, digits,
	// '.', '_' and '-', unique in a job.
	Name() string
	// Kind says what it is, for the manifest: "folder", "sqlite".
	Kind() string
	// Snapshot writes the content. Any error makes the snapshot impossible.
	Snapshot(ctx context.Context, w *Writer) error
}

// Tagger authenticates manifests with an installation key:
// vault.ManifestTagger() of package encryption is one.
type Tagger interface {
	// Tag returns an authentication tag over data.
	Tag(ctx context.Context, data []byte) ([]byte, error)
	// Verify returns nil only when tag belongs to data.
	Verify(ctx context.Context, data, tag []byte) error
}

var errDone = errors.New("backup: the writer of a source was used after Snapshot returned")
