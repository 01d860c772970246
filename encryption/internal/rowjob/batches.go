package rowjob

import (
	"context"

	"github.com/crmguard/crmguard/encryption/jobs"
	"github.com/crmguard/crmguard/internal/sqldb"
)

// batches reads the rows of a Reseal, and seals anew what it has read. Where
// nothing that the caller handed in looks on, the next batch is made ready while
// one is written: the server works then, and this process would wait. What is
// changed meanwhile is noticed as it always is, since each row is compared with
// what was read of it, and the key version with the store.
type batches struct {
	read  func(after []any) batch
	after []any
	ahead chan batch // of one that is on its way; nil where none is read ahead
	stop  func()     // returns when nothing is on its way
}

type batch struct {
	rows  []dataRow
	plans []rowPlan
	err   error
}

func (b batch) last() []any { return b.rows[len(b.rows)-1].cursor }

func (s *storedTable) batches(ctx context.Context, tenant string, after []any, options jobs.ResealOptions) *batches {
	ctx, cancel := context.WithCancel(ctx)
	b := &batches{after: after, stop: cancel}
	b.read = func(after []any) (out batch) {
		out.rows, out.err = s.page(ctx, tenant, after, "", nil, options.Batch)
		if out.err == nil && len(out.rows) > 0 {
			out.plans, out.err = s.plan(ctx, tenant, out.rows, options.Streams != nil)
		}
		return out
	}
	if !s.readsAhead(options) {
		return b
	}
	b.ahead = make(chan batch, 1)
	b.ahead <- b.read(after)
	b.stop = func() {
		cancel()
		<-b.ahead
	}
	return b
}

// readsAhead says whether a batch is read while the one before it is written. A
// pause is for what others write, which would then be read before it; MariaDB and
// SQLite are asked row by row and would gain little.
func (s *storedTable) readsAhead(options jobs.ResealOptions) bool {
	return s.db.Kind == sqldb.Postgres && options.Pause <= 0 && options.BeforeRow == nil && options.AfterRow == nil && options.Streams == nil
}

// next is the next batch; one without rows is the last.
func (b *batches) next() batch {
	if b.ahead == nil {
		out := b.read(b.after)
		if len(out.rows) > 0 {
			b.after = out.last()
		}
		return out
	}
	out := <-b.ahead
	if out.err != nil || len(out.rows) == 0 {
		b.ahead <- batch{}
		return out
	}
	go func() { b.ahead <- b.read(out.last()) }()
	return out
}
