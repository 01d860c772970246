package gormfield

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"
	"gorm.io/gorm/schema"

	"github.com/crmguard/crmguard/encryption"
)

// Config says what is sealed.
type Config struct {
	// Tables are the definitions, as Vault.Table takes them. Columns that are
	// streams are not GORM's business.
	Tables []encryption.Table
	// Tenant names the tenant of tables without a column for it; one process for
	// one tenant returns a constant.
	Tenant func(ctx context.Context) (string, error)
	// IDs draws n ids for rows of a table, by its logical name: columns of
	// LevelRow are sealed for an id that must be known before the INSERT. nil
	// asks the sequence of the column on PostgreSQL, and elsewhere refuses rows
	// without an id.
	IDs func(ctx context.Context, table string, n int) ([]any, error)
	// KeyWait bounds the wait for keys, where the key store is slow, or where
	// transactions hold all connections that it could use. 0 is 10 seconds.
	KeyWait time.Duration
}

func (c *Config) tenant(ctx context.Context) (string, error) {
	if c.Tenant == nil {
		return "", fmt.Errorf("%w: no tenant", ErrOwner)
	}
	return c.Tenant(ctx)
}

// Plugin seals and opens the fields of GORM models. It is safe for concurrent
// use, and may serve several *gorm.DB.
type Plugin struct {
	vault  *encryption.Vault
	config Config
	tables map[string]*sealedTable // by name in the database
	known  sync.Map                // modelOf -> error: what checkModel said
	ahead  int                     // readAhead, but in tests
}

// New declares the tables in the vault and returns the plugin for db.Use. It
// registers the serializer "crmguard" with GORM, so it comes before the first
// use of a model.
func New(vault *encryption.Vault, config Config) (*Plugin, error) {
	if config.KeyWait == 0 {
		config.KeyWait = 10 * time.Second
	}
	p := &Plugin{vault: vault, config: config, tables: map[string]*sealedTable{}, ahead: readAhead}
	for _, def := range config.Tables {
		table, err := vault.Table(def)
		if err != nil {
			return nil, fmt.Errorf("gormfield: %w", err)
		}
		t := newSealedTable(table, def)
		if p.tables[t.name] != nil {
			return nil, t.fail("", "two definitions of one table", ErrModel)
		}
		if t.tenant == "" && config.Tenant == nil {
			return nil, t.fail("", "Config.Tenant is needed where the table has no column for it", ErrModel)
		}
		if def.Shared && t.owner != "" && len(t.streams) == 0 {
			return nil, t.fail("", "a shared table has columns of LevelTenant only", ErrModel)
		}
		p.tables[t.name] = t
	}
	if len(p.tables) == 0 {
		return nil, &FieldError{Op: "Config.Tables is empty", Err: ErrModel}
	}
	schema.RegisterSerializer(serializerName, serializer{})
	return p, nil
}

// Name is for db.Use.
func (p *Plugin) Name() string { return "crmguard" }

// Table returns a declared table by its logical name, for what is not GORM's:
// Match, Reseal, Rebuild, Holder. It is nil where none is declared so.
func (p *Plugin) Table(name string) *encryption.SealedTable {
	for _, t := range p.tables {
		if t.def.Name == name {
			return t.table
		}
	}
	return nil
}

// Lookup returns a condition for db.Where that finds rows by a blind index.
// Narrow indexes collide on purpose: compare what was found by
// [encryption.SealedTable.Match].
func (p *Plugin) Lookup(ctx context.Context, tenant, table, index, value string) (clause.Expression, error) {
	t := p.Table(table)
	if t == nil {
		return nil, &FieldError{Op: "no such table is declared", Table: table, Err: ErrModel}
	}
	conditions, err := t.Lookup(ctx, tenant, index, value)
	if err != nil {
		return nil, err
	}
	where, args := conditions.Where("")
	return clause.Expr{SQL: where, Vars: args}, nil
}

// ByHand returns a session in which raw SQL (Raw, Exec) on sealed tables is left
// alone: nothing is refused, and nothing is opened. Write values of a
// [encryption.Writer] with it, and read into [encryption.Sealed].
func ByHand(db *gorm.DB) *gorm.DB { return db.Set(byHandKey, true).Session(&gorm.Session{}) }

// Initialize is for db.Use.
func (p *Plugin) Initialize(db *gorm.DB) error {
	recordClauses(db.ClauseBuilders)
	// Each is put right before the callback that it names; "after" would put it
	// behind the commit.
	c := db.Callback()
	return errors.Join(
		c.Create().Before("gorm:begin_transaction").Register("crmguard:warm_create", p.warm),
		c.Create().Before("gorm:create").Register("crmguard:seal", p.before(p.create)),
		c.Create().Before("gorm:save_after_associations").Register("crmguard:open", p.after),
		c.Update().Before("gorm:begin_transaction").Register("crmguard:warm_update", p.warm),
		c.Update().Before("gorm:update").Register("crmguard:seal", p.before(p.update)),
		c.Update().Before("gorm:save_after_associations").Register("crmguard:open", p.after),
		c.Delete().Before("gorm:delete").Register("crmguard:seal", p.before(nil)),
		c.Delete().Before("gorm:after_delete").Register("crmguard:open", p.after),
		c.Query().Before("gorm:query").Register("crmguard:seal", p.before(nil)),
		c.Query().Before("gorm:preload").Register("crmguard:open", func(db *gorm.DB) {
			p.release(db)
			p.dropEmptyJoins(db)
		}),
		// Behind what GORM does for rows that are whole: it stops at an error.
		c.Query().After("gorm:after_query").Register("crmguard:failed", tell),
		c.Row().Before("gorm:row").Register("crmguard:seal", p.before(func(_ *gorm.DB, r *record) error {
			r.paged = true
			return nil
		})),
		c.Row().After("gorm:row").Register("crmguard:open", p.after),
		c.Raw().Before("gorm:raw").Register("crmguard:seal", p.before(func(db *gorm.DB, r *record) error {
			r.raw, r.exec = true, true
			if db.DryRun {
				_, err := p.check(r, db.Statement.SQL.String())
				return err
			}
			return nil
		})),
		c.Raw().After("gorm:raw").Register("crmguard:open", p.after),
	)
}

// before begins the record of a statement, seals what it writes and puts the
// pool before its connection.
func (p *Plugin) before(seal func(*gorm.DB, *record) error) func(*gorm.DB) {
	return func(db *gorm.DB) {
		if db.Error != nil {
			p.hide(db)
			return
		}
		stmt := db.Statement
		byHand, _ := db.Get(byHandKey)
		r := &record{raw: stmt.SQL.Len() > 0, byHand: byHand == true}
		if stmt.TableExpr == nil {
			r.base = bare(stmt.Table)
		}
		r.primary, r.elsewhere = p.tableOf(stmt)
		stmt.Settings.Store(recordKey, r)
		if seal != nil {
			if err := seal(db, r); err != nil {
				p.refuse(db, r, err)
				return
			}
		}
		r.pool = stmt.ConnPool
		if inner, ok := r.pool.(*pool); ok {
			r.pool = inner.ConnPool
		}
		stmt.ConnPool = &pool{ConnPool: r.pool, plugin: p, stmt: stmt, record: r}
	}
}

// hide takes an error of GORM away that quotes what it could not set a field to:
// it comes from before the plugin (Attrs, Assign, SetColumn).
func (p *Plugin) hide(db *gorm.DB) {
	if !strings.Contains(db.Error.Error(), "failed to set value") {
		return
	}
	if t, _ := p.tableOf(db.Statement); t != nil {
		db.Error = t.fail("", "a field cannot be set to a value of this type", ErrValue)
	}
}

// tableOf is the sealed table that a statement is about. What the statement says
// (Table, a name of its own) goes before the model, which another table may have
// the rows of; elsewhere says that it names a table besides that of the model
// which nobody has declared.
func (p *Plugin) tableOf(stmt *gorm.Statement) (t *sealedTable, elsewhere bool) {
	var model *sealedTable
	if stmt.Schema != nil {
		model = p.tables[bare(stmt.Schema.Table)]
	}
	named := []*sealedTable{}
	if t := p.tables[bare(stmt.Table)]; t != nil {
		named = append(named, t)
	}
	if stmt.TableExpr != nil {
		named = p.tablesIn(stmt.TableExpr.SQL) // "contacts AS c"
	}
	if len(named) == 1 {
		return named[0], false
	}
	return model, model != nil
}

// writes refuses a sealed model on a table whose definition is not known.
func (r *record) writes() error {
	if !r.elsewhere {
		return nil
	}
	return r.primary.fail("", "the statement writes rows of its model to a table that is not declared: declare it", ErrModel)
}

func (p *Plugin) create(db *gorm.DB, r *record) error {
	if r.primary == nil || r.raw {
		return nil
	}
	if err := r.writes(); err != nil {
		return err
	}
	return p.sealCreate(db, r)
}

func (p *Plugin) update(db *gorm.DB, r *record) error {
	if r.primary == nil || r.raw {
		return nil
	}
	if err := r.writes(); err != nil {
		return err
	}
	return p.sealUpdate(db, r)
}

// refuse ends a statement. Its text goes, so that no log shows it.
func (p *Plugin) refuse(db *gorm.DB, r *record, err error) {
	r.refused = err
	if !errors.Is(db.Error, err) {
		_ = db.AddError(err)
	}
	db.Statement.SQL.Reset()
	db.Statement.Vars = nil
	if db.DryRun {
		db.Statement.SQL.WriteString(refusedSQL) // stands in a subquery where it would not
	}
}

// after takes the pool away again, and says what did not open.
func (p *Plugin) after(db *gorm.DB) {
	p.release(db)
	tell(db)
}

// tell says what did not open.
func tell(db *gorm.DB) {
	if r := recordOf(db.Statement); r != nil && len(r.failed) > 0 {
		said, _ := db.Get(onUnopenedKey)
		if f, _ := said.(func(*encryption.RowsError)); f != nil {
			f(&encryption.RowsError{Rows: r.failed})
			return
		}
		_ = db.AddError(fmt.Errorf("gormfield: %w", &encryption.RowsError{Rows: r.failed}))
	}
}

// release takes the pool away again.
func (p *Plugin) release(db *gorm.DB) {
	stmt := db.Statement
	maskArgs(stmt)
	r := recordOf(stmt)
	if r == nil {
		return
	}
	if r.pool != nil {
		stmt.ConnPool = r.pool
		r.pool = nil
	}
	if r.own {
		delete(stmt.Clauses, "SET")
	}
	if r.refused == nil && db.DryRun && stmt.SQL.Len() > 0 {
		_, r.refused = p.check(r, stmt.SQL.String())
	}
	if r.refused != nil {
		p.refuse(db, r, r.refused)
	}
}

// modelOf is a model on a table: that of the model, or one that Table names.
type modelOf struct {
	model *schema.Schema
	table *sealedTable
}

// checkModel compares a model with the definition of a table, once.
func (p *Plugin) checkModel(s *schema.Schema, t *sealedTable) error {
	if s == nil {
		return nil
	}
	key := modelOf{s, t}
	if said, ok := p.known.Load(key); ok {
		err, _ := said.(error)
		return err
	}
	err := t.checkModel(s)
	p.known.Store(key, err)
	return err
}

func (t *sealedTable) checkModel(s *schema.Schema) error {
	for _, field := range s.Fields {
		column := bare(field.DBName)
		_, tagged := field.Serializer.(serializer)
		switch {
		case field.DBName == "":
		case t.streams[column]:
			return t.fail(column, "the field of "+s.Name+" stands for a stream, which SealStream seals past GORM: leave it out", ErrModel)
		case t.columns[column] != nil:
			switch {
			case !tagged:
				return t.fail(column, "the field of "+s.Name+" lacks the tag serializer:"+serializerName, ErrModel)
			case field.HasDefaultValue:
				return t.fail(column, "a default would be stored as it is", ErrModel)
			case !sealable(field.FieldType):
				return t.fail(column, "the field of "+s.Name+" is a "+field.FieldType.String(), ErrModel)
			}
		case tagged && t.indexes[column] == nil:
			return t.fail(column, "the field has the tag serializer:"+serializerName+" but the definition has no such column", ErrModel)
		}
	}
	return nil
}

// sealable types hold text or bytes.
func sealable(t reflect.Type) bool {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if reflect.PointerTo(t).Implements(scannerType) {
		return true
	}
	return t.Kind() == reflect.String || t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Uint8
}

// ensure makes the keys of many persons in few calls. What fails here fails
// again where the Writer is taken, with the name of what lacks it.
func (p *Plugin) ensure(ctx context.Context, only *sql.DB, t *sealedTable, bindings []binding) {
	persons := map[string][]string{}
	for _, b := range bindings {
		if w := of(t, &encryption.Column{}, b); w.owner != "" && w.owner[:min(2, len(w.owner))] != "r:" && !slices.Contains(persons[b.tenant], b.owner) {
			persons[b.tenant] = append(persons[b.tenant], b.owner)
		}
	}
	for tenant, owners := range persons {
		if len(owners) < 2 {
			continue
		}
		_ = p.fetch(ctx, only, func(ctx context.Context) error { return p.vault.Ensure(ctx, tenant, owners...) })
	}
}
