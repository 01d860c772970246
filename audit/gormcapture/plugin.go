package gormcapture

import (
	"context"
	"errors"
	"fmt"
	"time"

	"gorm.io/gorm"

	"github.com/crmguard/crmguard/audit"
)

// Plugin records what GORM changes. It is safe for concurrent use.
type Plugin struct {
	trail  *audit.Trail
	models map[string]*model // by table
}

// Register has the changes of these models recorded, of statements that are made
// from db from now on. Call it once, at the start. Its error is an [ErrModel].
func Register(db *gorm.DB, trail *audit.Trail, models ...Model) (*Plugin, error) {
	p := &Plugin{trail: trail, models: map[string]*model{}}
	if db == nil || trail == nil || len(models) == 0 {
		return nil, fmt.Errorf("%w: hand in the database, the trail and at least one model", ErrModel)
	}
	for _, given := range models {
		m, err := newModel(db, given)
		if err != nil {
			return nil, err
		}
		if p.models[m.schema.Table] != nil {
			return nil, fmt.Errorf("%w: two models of one table", ErrModel)
		}
		p.models[m.schema.Table] = m
	}
	if _, twice := db.Plugins[p.Name()]; twice {
		return nil, fmt.Errorf("%w: Register was called before on this *gorm.DB: hand all models to one call", ErrModel)
	}
	return p, db.Use(p)
}

// Name is for GORM.
func (p *Plugin) Name() string { return "crmguard:audit" }

// registering is the part of GORM's callbacks that is needed: those of one verb.
type registering struct {
	get    func(name string) func(*gorm.DB)
	before func(name, own string, f func(*gorm.DB)) error
	after  func(name, own string, f func(*gorm.DB)) error
}

// Initialize is for GORM.
func (p *Plugin) Initialize(db *gorm.DB) error {
	c := db.Callback()
	return errors.Join(
		p.register(registering{
			c.Create().Get,
			func(name, own string, f func(*gorm.DB)) error { return c.Create().Before(name).Register(own, f) },
			func(name, own string, f func(*gorm.DB)) error { return c.Create().After(name).Register(own, f) },
		}, "create", "gorm:save_after_associations"),
		p.register(registering{
			c.Update().Get,
			func(name, own string, f func(*gorm.DB)) error { return c.Update().Before(name).Register(own, f) },
			func(name, own string, f func(*gorm.DB)) error { return c.Update().After(name).Register(own, f) },
		}, "update", "gorm:save_after_associations"),
		p.register(registering{
			c.Delete().Get,
			func(name, own string, f func(*gorm.DB)) error { return c.Delete().Before(name).Register(own, f) },
			func(name, own string, f func(*gorm.DB)) error { return c.Delete().After(name).Register(own, f) },
		}, "delete", "gorm:after_delete"),
	)
}

// register puts a step right before a callback of GORM's: "after" puts it behind
// the commit. Where all transactions of GORM's own are switched off, those of
// beginning and ending one are not there.
func (p *Plugin) register(c registering, verb, behind string) error {
	begin, end := "gorm:begin_transaction", "gorm:commit_or_rollback_transaction"
	if c.get(begin) == nil {
		begin = "gorm:before_" + verb
	}
	record := func() error { return c.before(end, "crmguard:audit_record", p.record) }
	if c.get(end) == nil {
		record = func() error { return c.after("gorm:after_"+verb, "crmguard:audit_record", p.record) }
	}
	return errors.Join(
		c.before(begin, "crmguard:audit_prepare", func(db *gorm.DB) { p.prepare(db, verb) }),
		c.before("gorm:before_"+verb, "crmguard:audit_begin", p.begin),
		c.before("gorm:"+verb, "crmguard:audit_look", p.look),
		c.before(behind, "crmguard:audit_seen", p.seen),
		record(),
		c.after("*", "crmguard:audit_commit", p.commit),
	)
}

// waitInside bounds the wait of a preparation within a transaction, which wants a
// second connection: the first one may be the only one. On SQLite a transaction
// that has written keeps everybody else from writing, so there is little to wait
// for.
func waitInside(db *gorm.DB) time.Duration {
	if db.Name() == "sqlite" {
		return 200 * time.Millisecond
	}
	return 5 * time.Second
}

type contextKey struct{}

// ByHand returns a session whose statements are not recorded: the application
// records them itself, or nothing of theirs is for the log.
func ByHand(db *gorm.DB) *gorm.DB {
	ctx := db.Statement.Context
	return db.WithContext(context.WithValue(ctx, contextKey{}, &statement{byHand: true}))
}

// Record records an event within the transaction of db, prepared as the events of
// this package are. Called from a hook of a model it stands for what the row that
// its Object names would have been recorded as, unless it is taken back with a
// savepoint; the other rows of the statement are recorded all the same.
func (p *Plugin) Record(db *gorm.DB, e audit.Event) (id string, err error) {
	ctx := db.Statement.Context
	id, err = p.put(ctx, db, e, people(e))
	if s, ok := ctx.Value(contextKey{}).(*statement); ok && err == nil && id != "" {
		s.told = append(s.told, told{e.Object, id})
	}
	return id, err
}

// put records an event, and prepares what lacks. What is prepared within a
// transaction is so on another connection, and for good: a surrogate of a person
// whom nothing is recorded about does no harm.
func (p *Plugin) put(ctx context.Context, db *gorm.DB, e audit.Event, persons []string) (string, error) {
	id, err := p.trail.Record(ctx, db.Statement.ConnPool, e)
	if !errors.Is(err, audit.ErrNotPrepared) {
		return id, err
	}
	bounded, cancel := context.WithTimeout(ctx, waitInside(db))
	defer cancel()
	if late := p.trail.Prepare(bounded, e.Tenant, persons...); late != nil {
		return "", fmt.Errorf("gormcapture: %w; within the transaction that could not be made good for: %w", err, late)
	}
	return p.trail.Record(ctx, db.Statement.ConnPool, e)
}
