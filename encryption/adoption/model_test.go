package adoption_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/encryption/adoption"
	"github.com/crmguard/crmguard/internal/testdb"
)

// load is an application under load: two processes of the new release and the
// release before, which all write and read the same rows. The model is what was
// committed last.
type load struct {
	*env
	processes []*adoption.Adoption
	oldRuns   atomic.Bool // the release before the adoption
	oldLock   sync.RWMutex
	stop      atomic.Bool
	writes    atomic.Int64

	rows   []loadRow
	failed chan error
}

type loadRow struct {
	mu    sync.Mutex
	value *string // nil: NULL
	there bool
}

func (l *load) run(ctx context.Context, seed uint64) {
	chance := rand.New(rand.NewPCG(seed, 7))
	for !l.stop.Load() {
		i := chance.IntN(len(l.rows))
		if err := l.one(ctx, chance, i); err != nil {
			select {
			case l.failed <- err:
			default:
			}
			return
		}
	}
}

// one does one thing with a row, which nobody else touches meanwhile but the jobs.
func (l *load) one(ctx context.Context, chance *rand.Rand, i int) error {
	r := &l.rows[i]
	r.mu.Lock()
	defer r.mu.Unlock()
	l.oldLock.RLock()
	old := l.oldRuns.Load() && chance.IntN(2) == 0
	defer l.oldLock.RUnlock()
	id, person := fmt.Sprintf("r%02d", i), fmt.Sprintf("p%02d", i%7)
	value := new(string)
	*value = fmt.Sprintf("v%d@b.example", chance.IntN(50))
	switch chance.IntN(6) {
	case 0:
		value = nil
	case 1:
		*value = ""
	}
	kind := chance.IntN(4)
	switch {
	case kind == 0:
		return l.check(ctx, r, id, old, l.processes[chance.IntN(len(l.processes))])
	case kind == 1 && r.there && chance.IntN(4) == 0:
		if err := l.do(ctx, func(tx *sql.Tx) error {
			_, err := tx.ExecContext(ctx, l.bind(`DELETE FROM contacts WHERE id = ?`), id)
			return err
		}); err != nil {
			return err
		}
		r.there, r.value = false, nil
		return nil
	}
	write := func() error { return l.newWrite(ctx, chance, r.there, id, person, value) }
	if old {
		write = func() error { return l.oldWrite(ctx, r.there, id, person, value) }
	}
	if err := write(); err != nil {
		return err
	}
	r.there, r.value = true, value
	l.writes.Add(1)
	return nil
}

// do runs a transaction, again where the database ends it for the sake of another.
// The clock stands still until its statement has ended, and may jump before it
// commits.
func (l *load) do(ctx context.Context, f func(tx *sql.Tx) error) error {
	for try := 0; ; try++ {
		err := func() error {
			l.clock.gate.RLock()
			tx, err := l.db.BeginTx(ctx, nil)
			if err != nil {
				l.clock.gate.RUnlock()
				return err
			}
			err = f(tx)
			l.clock.gate.RUnlock()
			if err != nil {
				_ = tx.Rollback()
				return err
			}
			return tx.Commit()
		}()
		if err == nil || try == 20 || !strings.Contains(strings.ToLower(err.Error()), "lock") {
			return err
		}
	}
}

func (l *load) oldWrite(ctx context.Context, there bool, id, person string, value *string) error {
	return l.do(ctx, func(tx *sql.Tx) error {
		query, args := `INSERT INTO contacts (email, person, id) VALUES (?, ?, ?)`, []any{value, person, id}
		if there {
			query, args = `UPDATE contacts SET email = ?, seen = seen + 1 WHERE id = ?`, []any{value, id}
		}
		_, err := tx.ExecContext(ctx, l.bind(query), args...)
		return err
	})
}

func (l *load) newWrite(ctx context.Context, chance *rand.Rand, there bool, id, person string, value *string) error {
	a := l.processes[chance.IntN(len(l.processes))]
	for {
		w, err := a.Writer(ctx, tenant, person)
		if err != nil {
			return err
		}
		plain, sealed, index := any(nil), any(nil), any(nil)
		if value != nil {
			plain, sealed, index = w.Plain("email", *value), w.Text("email", *value), w.Int64("email_idx", *value)
		}
		query := `INSERT INTO contacts (email, email_sealed, email_idx, person, id) VALUES (?, ?, ?, ?, ?)`
		if there {
			query = `UPDATE contacts SET email = ?, email_sealed = ?, email_idx = ?, person = ?, seen = seen + 1 WHERE id = ?`
		}
		err = l.do(ctx, func(tx *sql.Tx) error {
			_, err := tx.ExecContext(ctx, l.bind(query), plain, sealed, index, person, id)
			return err
		})
		if err == nil || !errors.Is(err, adoption.ErrLease) && !errors.Is(err, encryption.ErrLease) {
			return err
		}
	}
}

// check reads a row as one of the releases does, and compares with the model.
func (l *load) check(ctx context.Context, r *loadRow, id string, old bool, a *adoption.Adoption) error {
	want := "-"
	if r.value != nil {
		want = *r.value
	}
	c := &contact{Email: "-"}
	l.clock.gate.RLock() // a page is opened within the lease in which it was read
	defer l.clock.gate.RUnlock()
	err := l.db.QueryRowContext(ctx, l.bind(`SELECT id, person, email, email_sealed FROM contacts WHERE id = ?`), id).Scan(&c.id, &c.person, &c.plain, &c.sealed)
	if errors.Is(err, sql.ErrNoRows) {
		if r.there {
			return fmt.Errorf("row %s is lost", id)
		}
		return nil
	}
	if err != nil {
		return err
	}
	have := "-"
	if old && c.plain != nil {
		have = *c.plain
	}
	if !old {
		if err := adoption.OpenAll(ctx, a, tenant, []*contact{c}); err != nil {
			return err
		}
		have = c.Email
		if want != "-" && want != "" {
			if err := l.isFound(ctx, a, id, want); err != nil {
				return err
			}
		}
	}
	if have != want {
		stage, settled, err := l.a.Stage(ctx, tenant)
		return errors.Join(fmt.Errorf("row %s reads %q, and %q was committed (old release: %v, stage %s %v)", id, have, want, old, stage, settled), err)
	}
	return nil
}

func (l *load) isFound(ctx context.Context, a *adoption.Adoption, id, value string) error {
	condition, err := a.Lookup(ctx, tenant, "email", value)
	if err != nil {
		return err
	}
	where, args := condition.Where("")
	if l.bind("?") != "?" {
		where, args = condition.Postgres("", 2)
	}
	var n int
	if err := l.db.QueryRowContext(ctx, l.bind(`SELECT COUNT(*) FROM contacts WHERE id = ?`)+` AND `+where, append([]any{id}, args...)...).Scan(&n); err != nil {
		return err
	}
	if n != 1 {
		return fmt.Errorf("row %s is not found by its value", id)
	}
	return nil
}

// oldRelease starts or ends the release before the adoption, as an operator does.
func (l *load) oldRelease(runs bool) {
	l.oldLock.Lock()
	defer l.oldLock.Unlock()
	l.oldRuns.Store(runs)
}

// Two processes of the new release and the release before write and read the same
// rows while an operator moves through all stages, forward and back: each read is
// what was committed last, each search finds it, and the dump at the end is the
// model.
func TestTwoReleasesUnderLoadThroughEveryStep(t *testing.T) {
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		e := newEnv(t, d, encryption.Table{
			Name:    "contacts",
			Columns: []encryption.Column{{Name: "email", SQL: "email_sealed", Index: []encryption.Index{{Column: "email_idx", As: encryption.Email, Bits: 32}}}},
		}, emailColumn, contactsSQL)
		if d.Name == testdb.SQLite {
			e.db.SetMaxOpenConns(1)
		} else {
			e.db.SetMaxOpenConns(12)
		}
		l := &load{env: e, rows: make([]loadRow, 60), failed: make(chan error, 1)}
		l.processes = []*adoption.Adoption{e.a, e.process(t)}
		for i := range 40 {
			value := fmt.Sprintf("first%d@b.example", i)
			e.old(t, fmt.Sprintf("r%02d", i), fmt.Sprintf("p%02d", i%7), value)
			l.rows[i].there, l.rows[i].value = true, &value
		}
		e.prepare(t)
		l.oldRelease(true)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var workers sync.WaitGroup
		for i := range 4 {
			workers.Go(func() { l.run(ctx, uint64(i)) })
		}
		ended := false
		end := func() {
			if !ended {
				ended = true
				l.stop.Store(true)
				workers.Wait()
			}
		}
		defer end()
		some := func() { // writes happen at each step
			t.Helper()
			for until := l.writes.Load() + 30; l.writes.Load() < until && !ended; {
				select {
				case err := <-l.failed:
					require.NoError(t, err)
				case <-time.After(time.Millisecond):
				}
			}
		}
		job := func(f func(context.Context, string, adoption.JobOptions) (adoption.Report, error)) {
			t.Helper()
			report, err := f(ctx, tenant, adoption.JobOptions{Batch: 7, Workers: 2, Again: true})
			require.NoError(t, err)
			require.True(t, report.Clean, "%+v", report)
		}
		// While a move waits, the process that moves is at the new stage, the other
		// one still at the stage before.
		e.clock.before = some
		some()
		e.move(t, adoption.WriteBoth, adoption.MoveOptions{})
		some()
		job(e.a.Backfill)
		some()
		e.move(t, adoption.ReadSealed, adoption.MoveOptions{})
		some()
		e.move(t, adoption.WriteBoth, adoption.MoveOptions{})
		some()
		job(e.a.Backfill)
		e.move(t, adoption.ReadSealed, adoption.MoveOptions{})
		some()
		l.oldRelease(false)
		job(e.a.Backfill)
		e.move(t, adoption.SealedOnly, adoption.MoveOptions{OldReleaseGone: true})
		some()
		e.guard(t, adoption.Refuse)
		some()
		job(e.a.Clear)
		some()
		require.NoError(t, adoption.Finished(ctx, e.db, "contacts"))
		e.guard(t, adoption.Reset)
		e.move(t, adoption.ReadSealed, adoption.MoveOptions{})
		some()
		job(e.a.Unseal)
		some()
		e.move(t, adoption.WriteBoth, adoption.MoveOptions{})
		l.oldRelease(true)
		some()
		e.move(t, adoption.Plain, adoption.MoveOptions{})
		some()
		end()
		select {
		case err := <-l.failed:
			require.NoError(t, err)
		default:
		}
		// The dump: what the release before reads, and what the new one does.
		want, plain := map[string]string{}, map[string]string{}
		for i := range l.rows {
			if r := &l.rows[i]; r.there {
				want[fmt.Sprintf("r%02d", i)] = "-"
				if r.value != nil {
					want[fmt.Sprintf("r%02d", i)] = *r.value
				}
			}
		}
		for _, c := range e.rows(t, "") {
			plain[c.id] = "-"
			if c.plain != nil {
				plain[c.id] = *c.plain
			}
		}
		require.Equal(t, want, plain)
		require.Equal(t, want, e.read(t, e.a))
		require.Zero(t, e.seen.of("encryption.adoption.mismatches"), "at no time did a sealed value say something else than the clear")
	})
}
