package adoption

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"sort"
	"time"

	"github.com/crmguard/crmguard/internal/sqldb"
)

// Stage says what the processes of an application read and write of an adopted
// table. Neighbours understand each other; see the package comment.
type Stage string

// The stages, in their order.
const (
	Plain      Stage = "plain"       // reads and writes in the clear
	WriteBoth  Stage = "write-both"  // reads in the clear, writes both
	ReadSealed Stage = "read-sealed" // reads sealed and compares, writes both
	SealedOnly Stage = "sealed-only" // reads and writes sealed
)

// stagesInOrder are the stages that this release knows.
func stagesInOrder() []Stage { return []Stage{Plain, WriteBoth, ReadSealed, SealedOnly} }

// place is the position of a stage in the order; -1 for one that is not known.
func (s Stage) place() int { return slices.Index(stagesInOrder(), s) }

// writesSealed says whether sealed values are written.
func (s Stage) writesSealed() bool { return s.place() >= WriteBoth.place() }

// readsSealed says whether sealed values are read.
func (s Stage) readsSealed() bool { return s.place() >= ReadSealed.place() }

// stageRow is the recorded stage of a table and tenant.
type stageRow struct {
	tenant   string
	stage    Stage
	settled  bool  // nobody is at another stage any more
	revision int64 // counts the moves
	digest   string
	lease    time.Duration
	gone     time.Time // when somebody stated that releases without the adoption are gone
	clean    int64     // the revision at which a whole pass of the stage's job found nothing to do; 0 is none
	changed  time.Time // of the stage, by the clock of who moved
	tag      []byte    // over all of it; empty where nobody has moved yet
}

const stageColumns = `tenant, stage, settled, revision, digest, lease, gone, clean, changed, tag`

func scanStage(rows *sql.Rows) (r stageRow, err error) {
	var stage string
	var settled, lease, gone, changed int64
	if err := rows.Scan(&r.tenant, &stage, &settled, &r.revision, &r.digest, &lease, &gone, &r.clean, &changed, &r.tag); err != nil {
		return r, sqldb.Safe(err)
	}
	r.stage, r.settled, r.lease = Stage(stage), settled != 0, time.Duration(lease)*time.Microsecond
	if gone != 0 {
		r.gone = time.UnixMicro(gone).UTC()
	}
	r.changed = time.UnixMicro(changed).UTC()
	if r.tag == nil { // how SQLite's driver gives an empty one
		r.tag = []byte{}
	}
	return r, nil
}

// stages reads the rows of all tenants of a table.
func stages(ctx context.Context, db *sqldb.DB, table string) (out []stageRow, err error) {
	err = db.Read(ctx, func(q sqldb.Querier) error {
		out = nil
		return sqldb.Each(ctx, q, func(rows *sql.Rows) error {
			r, err := scanStage(rows)
			out = append(out, r)
			return err
		}, db.Bind(`SELECT `+stageColumns+` FROM crmguard_adoption WHERE tab = ? ORDER BY tenant`), table)
	})
	if err != nil {
		return nil, fmt.Errorf("adoption: stages of %s: %w", table, sqldb.Safe(err))
	}
	return out, nil
}

// readStage reads the row of a tenant; sql.ErrNoRows where there is none.
func (a *Adoption) readStage(ctx context.Context, q sqldb.Querier, tenant, lock string) (r stageRow, err error) {
	there := false
	err = sqldb.Each(ctx, q, func(rows *sql.Rows) (err error) {
		there = true
		r, err = scanStage(rows)
		return err
	}, a.db.Bind(`SELECT `+stageColumns+` FROM crmguard_adoption WHERE tenant = ? AND tab = ?`+lock), tenant, a.def.Name)
	if err == nil && !there {
		err = sql.ErrNoRows
	}
	return r, err
}

// agrees refuses what this process would write otherwise than others.
func (a *Adoption) agrees(r stageRow) error {
	switch {
	case r.stage.place() < 0:
		return fmt.Errorf("%w: table %s of tenant %q is at a stage that this release does not know (%q): deploy the release that moved there", ErrStage, a.def.Name, r.tenant, string(r.stage))
	case r.lease < time.Millisecond:
		return fmt.Errorf("%w: the recorded stage of %s of tenant %q has no lease: its row was damaged", ErrStage, a.def.Name, r.tenant)
	case a.cfg.Lease != 0 && a.cfg.Lease != r.lease:
		return fmt.Errorf("%w: Config.Lease is %v, %s of tenant %q has %v recorded: leave it 0, which takes that one", ErrDefinition, a.cfg.Lease, a.def.Name, r.tenant, r.lease)
	case r.stage != Plain && r.digest != a.digest:
		return fmt.Errorf("%w: table %s of tenant %q was moved to %s with other columns, indexes or names than this release declares: deploy the release that moved, or move back to %s with it before the definition changes", ErrDefinition, a.def.Name, r.tenant, r.stage, Plain)
	}
	return nil
}

// current reads the row afresh, and writes that of a tenant who has none.
func (a *Adoption) current(ctx context.Context, tenant string) (r stageRow, err error) {
	known := int64(0) // before the row is read: others read a newer one meanwhile
	for range 2 {
		known = a.known(tenant)
		err = a.db.Snapshot(ctx, func(tx *sql.Tx) (err error) { // of a primary
			r, err = a.readStage(ctx, tx, tenant, "")
			return err
		})
		if !errors.Is(err, sql.ErrNoRows) || known > 0 {
			break
		}
		if err = a.begin(ctx, tenant); err != nil {
			break
		}
	}
	if errors.Is(err, sql.ErrNoRows) {
		a.terms.Observe(ctx, "encryption.adoption.forged", 1)
		return r, &forgedError{a.def.Name, tenant, "is gone"}
	}
	if err != nil {
		for _, own := range []error{ErrDefinition, ErrStage} { // of begin, whose words are not the driver's
			if errors.Is(err, own) {
				return r, err
			}
		}
		return r, fmt.Errorf("adoption: read the stage of %s: %w", a.def.Name, sqldb.Safe(err))
	}
	if err := a.agrees(r); err != nil {
		return r, err
	}
	if err := a.verify(ctx, r, known); err != nil {
		return r, err
	}
	back := r.revision < known
	a.mu.Lock()
	if back || r.revision > a.seen[tenant] {
		a.seen[tenant] = r.revision
	}
	a.mu.Unlock()
	if back {
		a.counted.rewound.Add(1)
		a.terms.Observe(ctx, "encryption.adoption.rewound", 1)
	}
	return r, nil
}

// begin writes the row of a tenant whose stage nobody has asked for yet: from now
// on all keep to one lease. A tenant that comes when all others are at SealedOnly
// and the guard Refuse stands begins there: at Plain that would stop all it writes.
func (a *Adoption) begin(ctx context.Context, tenant string) error {
	others, err := stages(ctx, a.db, a.def.Name)
	if err != nil {
		return err
	}
	if err := a.alone(tenant, others); err != nil {
		return err
	}
	first, gone := Plain, int64(0)
	done := func(r stageRow) bool { return r.stage == SealedOnly && r.settled && r.digest == a.digest }
	if len(others) > 0 && !slices.ContainsFunc(others, func(r stageRow) bool { return !done(r) }) {
		guard, err := a.Guard(ctx)
		if err != nil {
			return err
		}
		if guard == Refuse {
			first, gone = SealedOnly, others[0].gone.UnixMicro()
		}
	}
	lease := a.cfg.Lease
	if lease == 0 {
		lease = DefaultLease
	}
	r := stageRow{tenant: tenant, stage: first, settled: true, revision: 1, digest: a.digest, lease: lease, changed: a.terms.Now(), tag: []byte{}}
	if first != Plain {
		r.gone = time.UnixMicro(gone)
		if r.tag, err = a.tagOf(ctx, r); err != nil {
			return err
		}
	}
	return a.db.For("crmguard_adoption").Write(ctx, func(tx *sql.Tx) error {
		return a.db.Insert(ctx, tx, sqldb.Insert{
			Table:   "crmguard_adoption",
			Columns: []string{"tenant", "tab", "stage", "settled", "revision", "digest", "lease", "gone", "clean", "changed", "tag"},
			Key:     []string{"tenant", "tab"},
		}, [][]any{append([]any{tenant, a.def.Name}, r.stored()...)})
	})
}

// held is a stage that may be trusted for its lease.
type held struct {
	stageRow
	start, until time.Time
	filling      bool // see Adoption.filling
}

// over says whether the lease has passed by any clock there is: the monotonic one
// stands still while a machine sleeps, the wall clock may be set.
func (h held) over(now time.Time) bool {
	return !now.Before(h.until) || now.Before(h.start) || !now.Round(0).Before(h.until.Round(0))
}

// slowAttempts bounds how often a stage is read that arrived after its lease.
const slowAttempts = 3

// at is the stage of a tenant, read at most half a lease ago, so that what is
// taken with it lasts.
func (a *Adoption) at(ctx context.Context, tenant string) (held, error) {
	a.mu.Lock()
	known, ok := a.held[tenant]
	a.mu.Unlock()
	if ok {
		half := known
		half.until = known.start.Add(known.lease / 2)
		if !half.over(a.terms.Now()) {
			return known, nil
		}
	}
	for range slowAttempts {
		start := a.terms.Now()
		r, err := a.current(ctx, tenant)
		if err != nil {
			refused := errors.Is(err, ErrStage) || errors.Is(err, ErrDefinition)
			if ok && !refused && ctx.Err() == nil && !known.over(a.terms.Now()) {
				return known, nil // an early question is forgiven while the lease runs
			}
			return held{}, err
		}
		filling, err := a.filling(ctx, r)
		if err != nil {
			return held{}, err
		}
		h := held{r, start, start.Add(r.lease), filling}
		if !h.over(a.terms.Now()) {
			a.mu.Lock()
			a.held[tenant] = h
			a.mu.Unlock()
			return h, nil
		}
	}
	return held{}, fmt.Errorf("adoption: read the stage of %s: the database answers later than the lease lasts: %w", a.def.Name, ErrLease)
}

// forget makes this process ask again.
func (a *Adoption) forget(tenant string) {
	a.mu.Lock()
	delete(a.held, tenant)
	a.mu.Unlock()
}

// Stage returns the recorded stage of a tenant and whether it has settled: no
// process is at another one any more.
func (a *Adoption) Stage(ctx context.Context, tenant string) (stage Stage, settled bool, err error) {
	r, err := a.current(ctx, tenant)
	return r.stage, r.settled, err
}

// sorted are the logical names of the adopted columns.
func (a *Adoption) sorted() []string {
	names := slices.Clone(a.order)
	sort.Strings(names)
	return names
}

// NotFinishedError says why a release without the adoption must not start.
type NotFinishedError struct {
	Table, Tenant string
	Stage         Stage
	Why           string
}

// Error names table, tenant, reason and remedy.
func (e *NotFinishedError) Error() string {
	return fmt.Sprintf("adoption: table %s of tenant %q is at %s: %s", e.Table, e.Tenant, e.Stage, e.Why)
}

// Unwrap returns ErrStage.
func (e *NotFinishedError) Unwrap() error { return ErrStage }

// Finished is for the release that has no adoption any more, and reads and writes
// sealed values only: it calls it at its start, and does not start with an error.
// Below SealedOnly it would write what others do not read, and before Clear has
// found nothing left, it would miss values that stand in the clear only. table is
// the logical name. A database that knows no tenant of the table is refused, too:
// it may be one from before the adoption.
func Finished(ctx context.Context, db *sql.DB, table string) error {
	open, err := sqldb.Open(ctx, db)
	if err != nil {
		return fmt.Errorf("adoption: %w", err)
	}
	if err := schema().Check(ctx, open); err != nil {
		return err
	}
	rows, err := stages(ctx, open, table)
	if err != nil {
		return err
	}
	if len(rows) == 0 {
		return &NotFinishedError{Table: table, Stage: Plain, Why: "no stage was ever recorded: is this the database that was adopted?"}
	}
	for _, r := range rows {
		why := ""
		switch {
		case r.stage != SealedOnly:
			why = "run the release with the adoption, and move to " + string(SealedOnly)
		case !r.settled:
			why = "the move has not ended: call Move again with the release that has the adoption"
		case r.clean != r.revision:
			why = "values may stand in the clear only: call Clear with the release that has the adoption, until it finds nothing left"
		}
		if why != "" {
			return &NotFinishedError{Table: table, Tenant: r.tenant, Stage: r.stage, Why: why}
		}
	}
	return nil
}
