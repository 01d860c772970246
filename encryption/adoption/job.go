package adoption

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"
)

// JobOptions says how Backfill, Clear and Unseal go over a table. The zero value
// is good.
type JobOptions struct {
	// Batch is how many rows a transaction changes at most; 0 is 200. Where batches
	// take longer than BatchTime they become smaller.
	Batch int
	// BatchTime is how long a batch should take at most, by which the job keeps out
	// of the way of others; 0 is half a second.
	BatchTime time.Duration
	// Workers is how many batches are on their way at once; 0 is 1.
	Workers int
	// RowsPerSecond bounds the rows read; 0 does not.
	RowsPerSecond int
	// MaxLag lets the job wait while a standby of PostgreSQL lags further behind
	// (pg_stat_replication, which wants the role pg_monitor); 0 does not. One that
	// hangs is waited for until it is no longer connected, which
	// wal_sender_timeout decides.
	MaxLag time.Duration
	// MaxWAL bounds the bytes of write-ahead log that PostgreSQL writes in a
	// second, of everybody; 0 does not.
	MaxWAL int64
	// Pause is asked between batches how long to wait more; an error ends the job,
	// which goes on from there when it is called again. nil is no pause.
	Pause func(ctx context.Context, p Progress) (time.Duration, error)
	// Progress is called between batches; nil is silence.
	Progress func(p Progress)
	// DryRun reads, seals and compares, and changes nothing.
	DryRun bool
	// Again begins at the first row, also where the job was interrupted.
	Again bool
}

// Progress says how far a job is.
type Progress struct {
	Report
	Total int64         // rows that there are, as the database estimates; 0 where it does not
	Left  time.Duration // until the end, at the speed so far; 0 where that is not known
}

// String is one line for people.
func (p Progress) String() string {
	text := fmt.Sprintf("%d rows", p.Rows)
	if p.Total > 0 {
		text += fmt.Sprintf(" of about %d (%d %%)", p.Total, min(100, 100*p.Rows/p.Total))
	}
	text += fmt.Sprintf(", %d changed, %d left", p.Changed, p.Refused+p.Erased+p.Locked+p.Differ)
	if p.Left > 0 {
		text += fmt.Sprintf(", about %v to go", p.Left.Round(time.Second))
	}
	return text
}

// Report says what a job did, over all of its interruptions.
type Report struct {
	Rows      int64 // rows read
	Changed   int64 // rows changed; with DryRun those that would be
	Same      int64 // rows that were as they should be
	Empty     int64 // rows without a value
	Conflicts int64 // rows that others changed meanwhile; they were read again
	Differ    int64 // rows of Clear and Unseal whose two values differ, left as they are; rows of Backfill whose sealed value is not the one in the clear and could not be replaced, or stands beside an emptied one
	Erased    int64 // rows of erased persons, left as they are
	Refused   int64 // rows without an owner, of merged persons, or that the database or the vault refuses
	Locked    int64 // rows that others held locked to the end
	Owners    int64 // rows whose sealed value is whole and does not open for the owner of the row: a Writer named another one
	Listed    []Left
	Clean     bool // the whole table was looked at, and nothing is in the way of the next move
}

// Left is a row that a job left as it is.
type Left struct {
	Row    string // its key as encryption.RowText writes it, "" where it has none; for programs: a key may tell who it is
	Column string // logical name; "" is the row
	Why    string // for people; holds no value
}

// maxListed bounds what a report lists.
const maxListed = 100

func (r *Report) list(row, column string, why error) {
	if len(r.Listed) < maxListed {
		r.Listed = append(r.Listed, Left{Row: row, Column: column, Why: why.Error()})
	}
}

// reason lists why a report is not Clean as a whole, once, also where so many rows are
// listed already that no more are.
func (r *Report) reason(why error) {
	one := Left{Why: why.Error()}
	if !slices.Contains(r.Listed, one) {
		r.Listed = append(r.Listed, one)
	}
}

func (r *Report) add(o Report) {
	r.Rows += o.Rows
	r.Changed += o.Changed
	r.Same += o.Same
	r.Empty += o.Empty
	r.Conflicts += o.Conflicts
	r.Differ += o.Differ
	r.Erased += o.Erased
	r.Refused += o.Refused
	r.Locked += o.Locked
	r.Owners += o.Owners
	for _, left := range o.Listed {
		r.list(left.Row, left.Column, errors.New(left.Why))
	}
}

// kept is what is recorded of a job between batches.
type kept struct {
	Report   Report `json:"report"`
	Eligible bool   `json:"eligible"` // what this pass finds holds from its beginning on
	Guard    string `json:"guard"`    // the trigger that this rests on; "" where it rests on none
	Behind   bool   `json:"behind"`   // rows were put off that a kill would forget
}

// pass is one way over the table.
type pass struct {
	*live
	job     string
	tenant  string
	at      stageRow
	options JobOptions
	person  string // whose rows the pass is about; "" is everybody's
	empties bool   // takes values in the clear away, also where NOT NULL stands
	plan    func(ctx context.Context, p *pass, rows []row) ([]plan, error)

	kept      kept
	place     []any
	accepted  bool      // rows that are sealed only stay so
	filling   bool      // see Adoption.filling
	began     time.Time // of the whole pass
	resumed   time.Time // of this call
	before    int64     // rows of earlier calls
	total     int64
	batch     int
	stay      []*NotNullError // of a pass that empties: why a column stays
	putOff    [][]any         // rows that others hold locked
	pacemaker pacemaker
}

// run goes over the table, or on with what was interrupted at the same stage.
func (a *Adoption) run(ctx context.Context, p *pass) (Report, error) {
	l, err := a.live(ctx, p.tenant)
	if err != nil {
		return Report{}, err
	}
	p.live = l
	if p.empties {
		if p.stay, err = l.notNulls(ctx); err != nil {
			return Report{}, err
		}
	}
	if p.options.Batch <= 0 {
		p.options.Batch = 200
	}
	if p.options.BatchTime <= 0 {
		p.options.BatchTime = 500 * time.Millisecond
	}
	p.options.Workers = max(p.options.Workers, 1)
	p.batch = p.options.Batch
	p.began, p.resumed = a.terms.Now(), a.terms.Now()
	if err := p.resume(ctx); err != nil {
		return Report{}, err
	}
	p.before = p.kept.Report.Rows
	if p.total, err = l.estimate(ctx); err != nil {
		return p.kept.Report, err
	}
	for {
		n, err := p.wave(ctx)
		if err != nil {
			return p.kept.Report, err
		}
		if n == 0 {
			break
		}
	}
	if err := p.later(ctx); err != nil {
		return p.kept.Report, err
	}
	only, args := p.ofPerson()
	nameless, err := l.nameless(ctx, p.tenant, only, args)
	if err != nil {
		return p.kept.Report, err
	}
	if nameless > 0 {
		p.kept.Report.Refused += nameless
		p.kept.Report.reason(fmt.Errorf("%w: rows without a key cannot be written alone", ErrDefinition))
	}
	return p.kept.Report, nil
}

// resume reads what was recorded of the same pass, or begins another one.
func (p *pass) resume(ctx context.Context) error {
	if p.person != "" {
		return nil
	}
	if !p.options.DryRun && !p.options.Again {
		j, err := p.readJob(ctx, p.tenant, p.job)
		if err != nil {
			return err
		}
		if j.revision == p.at.revision && j.place != "" {
			if p.place, err = placeOf(j.place); err != nil {
				return err
			}
			if err := json.Unmarshal([]byte(j.counts), &p.kept); err != nil {
				return fmt.Errorf("adoption: the recorded counts of a job are damaged; begin anew (Again): %w", err)
			}
			p.began = j.began
			if p.kept.Eligible = p.kept.Eligible && !p.kept.Behind; p.kept.Eligible { // those rows were forgotten
				p.kept.Eligible, err = p.stillGuarded(ctx, p.kept.Guard)
			}
			return err
		}
	}
	return p.eligible(ctx)
}

// eligible asks whether what this pass finds right stays right: nobody is at the
// stage before, and who knows nothing of the adoption is gone or guarded against.
func (p *pass) eligible(ctx context.Context) error {
	guard, err := p.Guard(ctx)
	if err != nil {
		return err
	}
	if !p.at.gone.IsZero() {
		p.kept.Eligible = p.at.settled
		return nil
	}
	p.kept.Eligible = p.at.settled && guard == Reset && p.at.stage != SealedOnly
	p.kept.Guard, err = p.guardMark(ctx)
	return err
}

// guardJob keeps the trigger that the cleanness of a stage rests on.
const guardJob = "guard"

// stillGuarded says whether the trigger of a mark has stood all the time: one that
// was taken away and put back is another.
func (l *live) stillGuarded(ctx context.Context, mark string) (bool, error) {
	if mark == "" {
		return true, nil
	}
	guard, err := l.Guard(ctx)
	if err != nil || guard != Reset {
		return false, err
	}
	now, err := l.guardMark(ctx)
	return now == mark, err
}

// wave reads as many pages as there are workers, works on them side by side, and
// records how far the job is. Each page may be done twice: what is right already
// is left alone.
func (p *pass) wave(ctx context.Context) (n int, err error) {
	var pages [][]row
	place := p.place
	only, args := p.ofPerson()
	for range p.options.Workers {
		rows, err := p.read(ctx, p.tenant, place, only, args, p.batch)
		if err != nil {
			return 0, err
		}
		if len(rows) == 0 {
			break
		}
		pages = append(pages, rows)
		n += len(rows)
		place = rows[len(rows)-1].cursor
		if len(rows) < p.batch {
			break
		}
	}
	if n == 0 {
		return 0, nil
	}
	took, err := p.sideBySide(ctx, pages)
	if err != nil {
		return 0, err
	}
	p.place = place
	if err := p.save(ctx); err != nil {
		return 0, err
	}
	return n, p.pace(ctx, took)
}

// sideBySide works on pages at once, and returns how long the slowest took.
func (p *pass) sideBySide(ctx context.Context, pages [][]row) (slowest time.Duration, err error) {
	type done struct {
		report Report
		putOff [][]any
		took   time.Duration
		err    error
	}
	all := make([]done, len(pages))
	var group sync.WaitGroup
	for i, rows := range pages {
		group.Go(func() {
			begin := p.terms.Now()
			all[i].report, all[i].putOff, all[i].err = p.work(ctx, rows)
			all[i].took = p.terms.Now().Sub(begin)
		})
	}
	group.Wait()
	var failures []error
	for i := range all {
		slowest = max(slowest, all[i].took)
		failures = append(failures, all[i].err)
	}
	if err := errors.Join(failures...); err != nil {
		return slowest, err // counted when they are done again
	}
	for i := range all {
		p.kept.Report.add(all[i].report)
		if room := maxPutOff - len(p.putOff); len(all[i].putOff) > room {
			p.kept.Report.Locked += int64(len(all[i].putOff) - room)
			all[i].putOff = all[i].putOff[:room]
		}
		p.putOff = append(p.putOff, all[i].putOff...)
		p.terms.Observe(ctx, "encryption.adoption.rows", float64(len(pages[i])), slog.String("table", p.def.Name), slog.String("job", p.job))
	}
	p.kept.Behind = len(p.putOff) > 0
	return slowest, nil
}

// maxPutOff bounds the keys of locked rows that stay in memory.
const maxPutOff = 10_000

// later comes back to the rows that others held locked, one by one.
func (p *pass) later(ctx context.Context) error {
	for _, cursor := range p.putOff {
		condition, args := p.key.Equal(cursor)
		rows, err := p.read(ctx, p.tenant, nil, condition, args, 1)
		if err != nil {
			return err
		}
		if len(rows) == 0 {
			continue // deleted
		}
		report, again, err := p.work(ctx, rows)
		if err != nil {
			return err
		}
		report.Rows = 0 // counted before
		if len(again) > 0 {
			report.Locked++
			report.list(rows[0].id, "", errLocked)
		}
		p.kept.Report.add(report)
	}
	return nil
}

// save records the place, so that a killed job goes on from there.
func (p *pass) save(ctx context.Context) error {
	if p.options.DryRun || p.person != "" {
		return nil
	}
	place, err := placeText(p.place)
	if err != nil {
		return err
	}
	return p.record(ctx, place)
}

func (p *pass) record(ctx context.Context, place string) error {
	counts, err := json.Marshal(p.kept)
	if err != nil {
		return fmt.Errorf("adoption: %w", err)
	}
	return p.saveJob(ctx, p.tenant, jobRow{job: p.job, revision: p.at.revision, place: place, counts: string(counts), began: p.began, updated: p.terms.Now()})
}

// end records that the whole table was looked at, and whether the stage's work is
// done with that.
func (p *pass) end(ctx context.Context, clean bool) (Report, error) {
	p.kept.Report.Clean = clean && !p.options.DryRun
	if p.options.DryRun {
		return p.kept.Report, nil
	}
	if err := p.record(ctx, ""); err != nil {
		return p.kept.Report, err
	}
	if clean {
		if err := p.update(ctx, &p.at, func(r *stageRow) { r.clean = r.revision }); err != nil {
			return p.kept.Report, err
		}
	}
	return p.kept.Report, nil
}

func (p *pass) progress() Progress {
	out := Progress{Report: p.kept.Report, Total: p.total}
	done, took := out.Rows-p.before, p.terms.Now().Sub(p.resumed)
	if left := p.total - out.Rows; left > 0 && done > 0 && took > 0 {
		out.Left = time.Duration(float64(took) / float64(done) * float64(left))
	}
	return out
}
