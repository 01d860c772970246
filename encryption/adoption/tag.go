package adoption

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strconv"

	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/internal/frame"
)

// Whoever may write the tables of the stages could otherwise tell the application
// to write in the clear again. So a row of theirs carries a tag under a key of the
// tenant, and a process remembers how far it has seen the tenant move.

// stageDomain begins what the tag of a stage is made over.
const stageDomain = "crmguard/encryption/adoption/stage/1"

// numbers are the members of a row that are stored as numbers.
func (r stageRow) numbers() (settled, revision, lease, gone, clean, changed int64) {
	if !r.gone.IsZero() {
		gone = r.gone.UnixMicro()
	}
	return int64(yes(r.settled)), r.revision, r.lease.Microseconds(), gone, r.clean, r.changed.UnixMicro()
}

// stored are the values of a row in the order of its columns, behind tenant and
// table.
func (r stageRow) stored() []any {
	settled, revision, lease, gone, clean, changed := r.numbers()
	return []any{string(r.stage), settled, revision, r.digest, lease, gone, clean, changed, r.tag}
}

// text is what the tag of a row is made over.
func (r stageRow) text(table string) []byte {
	settled, revision, lease, gone, clean, changed := r.numbers()
	out := frame.Join(stageDomain, r.tenant, table, string(r.stage), r.digest)
	for _, n := range []int64{settled, revision, lease, gone, clean, changed} {
		out = frame.Append(out, strconv.FormatInt(n, 10))
	}
	return out
}

func (a *Adoption) tagOf(ctx context.Context, r stageRow) ([]byte, error) {
	tag, err := a.cfg.Table.Tagger().Tag(ctx, r.tenant, r.text(a.def.Name))
	if err != nil {
		return nil, fmt.Errorf("adoption: tag of the stage of %s: %w", a.def.Name, err)
	}
	return tag, nil
}

// unmoved says that a row says no more than none would: nobody has moved yet.
// Until then nothing of the adoption needs a key.
func (r stageRow) unmoved() bool {
	return r.stage == Plain && r.settled && r.revision == 1 && r.gone.IsZero() && r.clean == 0
}

// verify refuses a row that nobody wrote who has the key; known is what this process
// knew before the row was read.
func (a *Adoption) verify(ctx context.Context, r stageRow, known int64) error {
	if len(r.tag) == 0 && r.unmoved() {
		if known > 1 {
			a.terms.Observe(ctx, "encryption.adoption.forged", 1)
			return &forgedError{a.def.Name, r.tenant, "is as before the first move, and this process has seen moves (where an older database was put in place, end all processes first)"}
		}
		return nil
	}
	err := a.cfg.Table.Tagger().Verify(ctx, r.tenant, r.text(a.def.Name), r.tag)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%w: the stage of %s of tenant %q carries a tag of a key that the key store lacks: was an older key store put in place? put the one back that belongs to these rows: %w", ErrStage, a.def.Name, r.tenant, err)
	case errors.Is(err, encryption.ErrTag):
		a.terms.Observe(ctx, "encryption.adoption.forged", 1)
		return &forgedError{a.def.Name, r.tenant, "was changed by somebody without the key, or damaged"}
	case err != nil:
		return fmt.Errorf("adoption: tag of the stage of %s: %w", a.def.Name, err)
	}
	return nil
}

// forgedError is about a row that was changed by hand, or taken away.
type forgedError struct{ table, tenant, what string }

func (e *forgedError) Error() string {
	return fmt.Sprintf("%v: the recorded stage of %s of tenant %q %s: nothing is read or written by it; put the row of crmguard_adoption back from a backup of this database, and look who may write there", ErrStage, e.table, e.tenant, e.what)
}

func (e *forgedError) Unwrap() error { return ErrStage }

// known is the revision that this process has read last of a tenant; 0 is none. An
// older one than that may be a database that was put back, which brings its stage
// along: it is followed, and counted.
func (a *Adoption) known(tenant string) int64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.seen[tenant]
}

// cleared says that Clear has found nothing left in the clear at this stage.
func (r stageRow) cleared() bool { return r.stage == SealedOnly && r.clean == r.revision }

// backJob keeps at which move back from SealedOnly the clear is to be filled again.
const backJob = "back"

// filling says whether rows that are sealed only are as they should be at
// ReadSealed: after a move back, until Unseal was clean, and where some were
// accepted at an earlier move back. At all other times the clear stands beside each
// sealed value, and where it does not, somebody emptied it behind the guard.
func (a *Adoption) filling(ctx context.Context, r stageRow) (bool, error) {
	if r.stage != ReadSealed {
		return false, nil
	}
	for job, revision := range map[string]int64{backJob: r.revision, acceptedJob: r.revision - 1} {
		j, err := a.readJob(ctx, r.tenant, job)
		if err != nil {
			return false, err
		}
		// Rows that were read before Unseal filled them are opened for a while longer.
		over := j.counts == filled && !a.terms.Now().Before(j.updated.Add(r.lease+a.terms.LongestTransaction))
		if j.revision == revision && j.counts != "" && !over {
			return true, nil
		}
	}
	return false, nil
}

// filled is recorded once Unseal has found nothing that is sealed only.
const filled = `{"filled":true}`

// endFilling records that Unseal was clean.
func (a *Adoption) endFilling(ctx context.Context, r stageRow) error {
	for job, revision := range map[string]int64{backJob: r.revision, acceptedJob: r.revision - 1} {
		j, err := a.readJob(ctx, r.tenant, job)
		if err != nil {
			return err
		}
		if j.revision != revision || j.counts == filled || j.counts == "" {
			continue
		}
		j.counts, j.updated = filled, a.terms.Now()
		if err := a.saveJob(ctx, r.tenant, j); err != nil {
			return err
		}
	}
	return nil
}

// beginFilling records that a move back to ReadSealed leaves the clear empty.
func (a *Adoption) beginFilling(ctx context.Context, r stageRow) error {
	now := a.terms.Now()
	return a.saveJob(ctx, r.tenant, jobRow{job: backJob, revision: r.revision + 1, counts: "{}", began: now, updated: now})
}
