package keycopy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash"

	"github.com/crmguard/crmguard/encryption/internal/keyring"
	"github.com/crmguard/crmguard/internal/durable"
)

// source is a key copy that was verified, as it was then. Lines have no mac of their
// own, and whoever may write the folder, or a program that keeps it in step with
// another one, may change the file at any time: whatever is read of it again is
// compared page by page, before anything is done with the page. The zero source is
// none.
type source struct {
	path   string
	sums   pageSums
	digest string // "" for a file that was not verified
}

// errCopyChanged says that nothing of the page was taken.
var errCopyChanged = fmt.Errorf("%w: the file changed after it was verified, and nothing is taken from what changed: see who writes it, then call again", keyring.ErrCopy)

// each hands out every row.
func (s source) each(ctx context.Context, visit func(copyRow) error) (err error) {
	file, err := durable.OpenPlain(s.path)
	if err != nil {
		return fmt.Errorf("%w: %w", keyring.ErrCopy, err)
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	r, err := newCopyReader(file, s.verified())
	if err != nil {
		return err
	}
	return r.each(ctx, visit)
}

func (s source) verified() *source {
	if s.digest == "" {
		return nil
	}
	return &s
}

// pageSums are digests of a copy from its first line to the end of each page that
// is full. The rest is under the digest of the whole.
type pageSums [][]byte

// add takes note after a row; sum is over everything so far.
func (s *pageSums) add(rows int, sum hash.Hash) {
	if rows%keyring.PageSize == 0 {
		*s = append(*s, sum.Sum(nil))
	}
}

// begin reports whether the last of some pages is what it was.
func (s pageSums) begin(read pageSums) bool {
	last := len(read) - 1
	return last >= 0 && last < len(s) && bytes.Equal(s[last], read[last])
}
