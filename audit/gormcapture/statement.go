package gormcapture

import (
	"context"
	"database/sql"
	"reflect"
	"slices"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"github.com/crmguard/crmguard/audit"
)

// maxRows is of how many rows one statement is recorded row by row.
const maxRows = 1000

// statement is what is known of one that changes rows of a model.
type statement struct {
	model  *model
	verb   string
	byHand bool
	told   []told // what its hooks have recorded
	began  bool   // a transaction of ours

	outer     context.Context // before ours stood around it
	pool      gorm.ConnPool   // before ours stood before it
	keys      []string        // of the rows, where they are known
	before    map[string]any  // their values, for a Differ
	known     bool            // which rows it is, and not more than maxRows
	orNothing bool            // an insertion: ON CONFLICT DO NOTHING
	drawn     bool            // an insertion: the database draws ids
	moved     map[string]moved
	columns   []string
	affected  int64
}

const statementKey = "crmguard:audit_statement"

func statementOf(db *gorm.DB) *statement {
	if found, ok := db.InstanceGet(statementKey); ok {
		if s, ok := found.(*statement); ok && !s.byHand {
			return s
		}
	}
	return nil
}

func inTransaction(db *gorm.DB) bool {
	_, ok := db.Statement.ConnPool.(gorm.TxCommitter)
	return ok
}

// prepare begins the record of a statement. Outside of a transaction everything is
// prepared here, before one begins: what is behind it needs no connection.
func (p *Plugin) prepare(db *gorm.DB, verb string) {
	m := p.models[db.Statement.Table]
	ctx := db.Statement.Context
	if outer, ok := ctx.Value(contextKey{}).(*statement); m == nil || db.Error != nil || db.DryRun || ok && outer.byHand {
		return
	}
	s := &statement{model: m, verb: verb, outer: ctx}
	db.InstanceSet(statementKey, s)
	if !inTransaction(db) {
		persons, err := p.persons(db, s)
		if err == nil {
			err = p.trail.Prepare(ctx, "", persons...)
		}
		if err != nil {
			_ = db.AddError(err)
			return
		}
	}
	db.Statement.Context = context.WithValue(ctx, contextKey{}, s)
}

// begin begins a transaction where GORM was told not to: the event commits with
// its rows, or not at all.
func (p *Plugin) begin(db *gorm.DB) {
	s := statementOf(db)
	if s == nil || db.Error != nil || inTransaction(db) {
		return
	}
	tx := db.Begin(&sql.TxOptions{})
	if tx.Error != nil {
		_ = db.AddError(tx.Error)
		return
	}
	db.Statement.ConnPool, s.began = tx.Statement.ConnPool, true
}

// commit ends it.
func (p *Plugin) commit(db *gorm.DB) {
	s := statementOf(db)
	if s == nil {
		return
	}
	db.Statement.Context = s.outer
	if !s.began {
		return
	}
	if db.Error != nil {
		db.Rollback()
	} else {
		db.Commit()
	}
	db.Statement.ConnPool = db.ConnPool
}

// look has the rows of an update or a deletion looked for, when its text is made:
// only then all of its conditions are there.
func (p *Plugin) look(db *gorm.DB) {
	s := statementOf(db)
	if s == nil || db.Error != nil {
		return
	}
	if s.verb == "create" {
		conflict, _ := db.Statement.Clauses["ON CONFLICT"].Expression.(clause.OnConflict)
		s.orNothing = conflict.DoNothing // MySQL's dialect has other words afterwards
		s.drawn = slices.ContainsFunc(s.model.rows(db.Statement.ReflectValue), func(row reflect.Value) bool {
			return s.model.key(s.outer, row) == ""
		})
		return
	}
	s.pool = db.Statement.ConnPool
	db.Statement.ConnPool = &pool{ConnPool: s.pool, look: func() error { return s.lookAt(db) }}
}

// seen puts everything back.
func (p *Plugin) seen(db *gorm.DB) {
	s := statementOf(db)
	if s == nil {
		return
	}
	s.affected = db.RowsAffected
	if s.pool != nil {
		if ours, ok := db.Statement.ConnPool.(*pool); ok {
			db.Statement.ConnPool = ours.ConnPool
		}
		s.pool = nil
	}
}

// pool looks before the statement runs.
type pool struct {
	gorm.ConnPool
	look func() error
}

// ExecContext looks, and runs.
func (p *pool) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	if err := p.look(); err != nil {
		return nil, err
	}
	return p.ConnPool.ExecContext(ctx, query, args...)
}

// QueryContext looks, and runs.
func (p *pool) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	if err := p.look(); err != nil {
		return nil, err
	}
	return p.ConnPool.QueryContext(ctx, query, args...)
}

// unclear says that conditions do not tell which rows it is.
func unclear(stmt *gorm.Statement) bool {
	_, limited := stmt.Clauses["LIMIT"]
	_, from := stmt.Clauses["FROM"]
	return limited || len(stmt.Joins) > 0 || stmt.TableExpr != nil && len(stmt.TableExpr.Vars) > 0 || from && !plainFrom(stmt)
}

// plainFrom says that the FROM is the table alone, as GORM writes it for DELETE.
func plainFrom(stmt *gorm.Statement) bool {
	from, ok := stmt.Clauses["FROM"].Expression.(clause.From)
	return ok && len(from.Tables) == 0 && len(from.Joins) == 0
}

// lookAt finds the rows that the statement will change.
func (s *statement) lookAt(db *gorm.DB) error {
	stmt := db.Statement
	if set, ok := stmt.Clauses["SET"].Expression.(clause.Set); ok { // of an update, or of a soft deletion
		for _, a := range set {
			if !slices.Contains(s.model.Skip, a.Column.Name) && !slices.Contains(s.columns, a.Column.Name) {
				s.columns = append(s.columns, a.Column.Name)
			}
		}
	}
	if s.model.changes == nil && stmt.Schema != nil && s.byKey(stmt) && (s.verb == "update" || same(stmt.Model, stmt.Dest)) {
		if rows := s.model.rows(stmt.ReflectValue); len(rows) == 1 && stmt.ReflectValue.Kind() == reflect.Struct {
			if key := s.model.key(s.outer, rows[0]); key != "" {
				s.keys, s.known = []string{key}, true
				return nil
			}
		}
	}
	if unclear(stmt) {
		return nil
	}
	rows, err := s.find(db, s.pool, s.where(db), true)
	if err != nil {
		return err
	}
	if len(rows) > maxRows {
		return nil
	}
	s.known, s.before = true, make(map[string]any, len(rows))
	for _, row := range rows {
		key := s.model.key(s.outer, row)
		s.keys = append(s.keys, key)
		s.before[key] = row.Addr().Interface()
		s.move(stmt, key, row)
	}
	return nil
}

// same says that two values are one pointer.
func same(a, b any) bool {
	x, y := reflect.ValueOf(a), reflect.ValueOf(b)
	return x.Kind() == reflect.Pointer && y.Kind() == reflect.Pointer && x.Type() == y.Type() && x.Pointer() == y.Pointer()
}

// find reads the rows that meet the conditions of a statement, one more than
// maxRows at most.
func (s *statement) find(db *gorm.DB, on gorm.ConnPool, where []clause.Expression, lock bool) ([]reflect.Value, error) {
	q := s.session(db, on).Unscoped().Model(reflect.New(s.model.schema.ModelType).Interface()).Table(db.Statement.Table)
	if len(where) > 0 {
		q = q.Clauses(clause.Where{Exprs: where})
	}
	if lock && db.Name() != "sqlite" {
		q = q.Clauses(clause.Locking{Strength: clause.LockingStrengthUpdate})
	}
	return s.read(q.Limit(maxRows + 1))
}

// session is one beside the statement, within its transaction.
func (s *statement) session(db *gorm.DB, on gorm.ConnPool) *gorm.DB {
	q := db.Session(&gorm.Session{NewDB: true, SkipHooks: true, Context: s.outer})
	q.Statement.ConnPool = on
	return q
}

// read reads rows: the columns of the key alone, where no values are recorded.
func (s *statement) read(q *gorm.DB) (out []reflect.Value, err error) {
	if s.model.changes == nil {
		q = q.Select(s.model.schema.PrimaryFieldDBNames)
	}
	rows := reflect.New(reflect.SliceOf(s.model.schema.ModelType))
	if err := q.Find(rows.Interface()).Error; err != nil {
		return nil, err
	}
	return s.model.rows(rows), nil
}

// again reads rows after the statement, under the keys that they have by now.
func (s *statement) again(db *gorm.DB) (map[string]any, error) {
	look := make([]reflect.Value, 0, len(s.keys))
	for _, key := range s.keys {
		row := reflect.ValueOf(s.before[key]).Elem()
		if to, ok := s.moved[key]; ok {
			if to.key == "" {
				continue
			}
			row = to.row
		}
		look = append(look, row)
	}
	out := make(map[string]any, len(look))
	for page := range slices.Chunk(look, 200) {
		q := s.session(db, db.Statement.ConnPool).Unscoped().Model(reflect.New(s.model.schema.ModelType).Interface()).Table(db.Statement.Table)
		rows, err := s.read(q.Clauses(clause.Where{Exprs: s.model.equal(s.outer, page)}))
		if err != nil {
			return nil, err
		}
		for _, row := range rows {
			out[s.model.key(s.outer, row)] = row.Addr().Interface()
		}
	}
	return out, nil
}

// names are changes of columns without their values.
func (s *statement) names(person string) (out []audit.Change) {
	for _, column := range s.columns {
		out = append(out, audit.Change{Path: column, Who: person, Old: audit.Absent{}, New: audit.Absent{}})
	}
	return out
}
