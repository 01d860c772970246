package audit

import (
	"strconv"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/crmguard/crmguard/audit/auditlog"
	"github.com/crmguard/crmguard/audit/internal/c2sp"
)

// Whoever may write a table, and has no key, can make any value as long as the
// database takes. What is read of it is one byte more than such a value can have:
// it is then not the one that was signed, tagged or sealed, as any other that was
// changed, and takes the memory of nobody who looks.

const (
	mostTile   = c2sp.TileWidth * tlog.HashSize
	mostNote   = c2sp.MaxCheckpoint
	mostSealed = 16<<20 + sealOver                 // the plaintext is at most 16 MiB
	mostBody   = maxRow + auditlog.MaxLeaf + 1<<16 // with the names of all owners
	mostSmall  = 1<<16 - 1                         // heads and tags, whose form the caller's keys know
	mostID     = 16
)

// upTo reads a column of bytes up to where it is too long.
func upTo(most int, column string) string {
	return "SUBSTR(" + column + ", 1, " + strconv.Itoa(most+1) + ")"
}
