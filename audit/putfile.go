package audit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/crmguard/crmguard/audit/auditlog"
)

// Sequencers of one database write the same bytes under the same names. Those of
// two, of a primary that goes on beside the replica which took its place, do not,
// and the later of them is refused where it would replace the checkpoint: until
// then it must not have spoilt the files of the other.

// overwritten are files that a pass has replaced, as they were.
type overwritten []replaced

type replaced struct {
	file
	old []byte
}

// putFile writes a file of the log where it is absent. Where it has other bytes, a
// damaged file or one of another log, what is published decides once more, and the
// comparison is the sink's own: whoever stands still between the two replaces
// nothing that came meanwhile.
func (t *Trail) putFile(ctx context.Context, f file, over *overwritten) error {
	sink := t.config.Sink
	err := sink.SwapFile(ctx, f.name, nil, f.data)
	for range swaps {
		if err == nil || ctx.Err() != nil {
			return err
		}
		there, readErr := sink.ReadFile(ctx, f.name)
		absent := errors.Is(readErr, fs.ErrNotExist)
		switch {
		case readErr == nil && bytes.Equal(there, f.data):
			return nil
		case readErr != nil && !absent: // no file at all, such as a pipe
			if err := t.stillOurs(ctx); err != nil {
				return err
			}
			return sink.WriteFile(ctx, f.name, f.data)
		case !errors.Is(err, ErrChanged):
			return err
		case absent:
			there = nil
		case there == nil:
			there = []byte{}
		}
		if there != nil {
			if err := t.stillOurs(ctx); err != nil {
				return err
			}
		}
		if err = sink.SwapFile(ctx, f.name, there, f.data); err == nil && there != nil {
			*over = append(*over, replaced{f, there})
		}
	}
	return fmt.Errorf("%w: others kept replacing a file of the log", ErrChanged)
}

// stillOurs refuses to go on where another log was published meanwhile.
func (t *Trail) stillOurs(ctx context.Context) error {
	head, err := t.head(ctx)
	if err != nil {
		return err
	}
	s, err := t.state(ctx, t.db)
	if err != nil {
		return err
	}
	return t.guard(ctx, s, head)
}

// giveBack puts back what a pass has replaced that was not to publish.
func (t *Trail) giveBack(ctx context.Context, over overwritten, why error) {
	if !errors.Is(why, auditlog.ErrForked) && !errors.Is(why, ErrBehind) {
		return
	}
	for _, r := range over {
		if err := t.config.Sink.SwapFile(ctx, r.name, r.data, r.old); err != nil && !errors.Is(err, ErrChanged) {
			t.observe(ctx, "audit.giveback.failed", 1) // Republish of the other one mends it
		}
	}
}
