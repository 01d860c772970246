package erasurelog

import (
	"context"

	"github.com/crmguard/crmguard/internal/durable"
)

// FolderOver is a folder with another disk in the place of its own.
func FolderOver(dir string, over func(durable.Disk) durable.Disk) Medium {
	return &folder{dir: dir, over: over}
}

// Line is an entry's line behind a head, whatever the rules say.
func (l *Log) Line(ctx context.Context, e Entry, behind Head) ([]byte, error) {
	return l.seal(ctx, e, behind)
}

// EmptyHead is where every ledger begins.
func EmptyHead() Head { return emptyHead() }

// LineHash is the hash of a line.
func LineHash(line []byte) string { return lineHash(line) }
