package gormfield

import (
	"strings"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"
)

// recordKey is where a statement keeps its record, in Statement.Settings.
const recordKey = "crmguard:statement"

// byHandKey marks a session whose raw SQL is left alone.
const byHandKey = "crmguard:by hand"

// refusedSQL stands where a refused subquery would: no database takes it.
const refusedSQL = "crmguard refused this statement"

// record is what the plugin knows of one execution of a statement.
type record struct {
	primary *sealedTable // of the model, or the only one
	raw     bool         // the SQL was given
	exec    bool         // given to Exec
	base    string       // the table by its own name
	paged   bool         // the rows are handed out one by one
	byHand  bool
	own     bool   // the SET is the plugin's
	bound   *bound // what the rows that are written must give back
	// elsewhere: the table is not that of the model, and not declared
	elsewhere bool
	clauses   []span
	ownText   []string // what the plugin has written into them
	refused   error
	pool      gorm.ConnPool
	failed    map[int]error // rows that do not open
}

// span is the text of one clause.
type span struct{ name, text string }

func recordOf(stmt *gorm.Statement) *record {
	if v, ok := stmt.Settings.Load(recordKey); ok {
		r, _ := v.(*record)
		return r
	}
	return nil
}

// recordClauses lets every clause be built as before and keeps its text.
func recordClauses(builders map[string]clause.ClauseBuilder) {
	names := []string{
		"INSERT", "VALUES", "ON CONFLICT", "RETURNING", "SELECT", "FROM", "WHERE", "GROUP BY", "ORDER BY",
		"LIMIT", "FOR", "UPDATE", "SET", "DELETE", "WITH",
	}
	for name := range builders {
		names = append(names, name)
	}
	done := map[string]bool{}
	for _, name := range names {
		if done[name] {
			continue
		}
		done[name] = true
		before := builders[name]
		builders[name] = func(c clause.Clause, builder clause.Builder) {
			stmt, ok := builder.(*gorm.Statement)
			from := 0
			if ok {
				from = stmt.SQL.Len()
			}
			if before != nil {
				before(c, builder)
			} else {
				c.Build(builder)
			}
			if !ok {
				return
			}
			if r := recordOf(stmt); r != nil {
				r.clauses = append(r.clauses, span{name: name, text: stmt.SQL.String()[from:]})
			}
		}
	}
}

// check says whether a statement may run, and whether its rows hold sealed cells.
func (p *Plugin) check(r *record, sql string) (reads bool, err error) {
	if r.byHand && r.raw {
		return false, nil
	}
	if strings.Contains(sql, refusedSQL) {
		return false, &FieldError{Op: "in a subquery, of which a dry run says more", Table: "a sealed table", Err: ErrSearch}
	}
	tables := p.tablesIn(r.without(sql))
	if r.primary != nil && !contains(tables, r.primary) {
		tables = append(tables, r.primary)
	}
	if len(tables) == 0 {
		return false, nil
	}
	if r.primary == nil && len(tables) == 1 && r.raw {
		r.primary = tables[0]
	}
	if r.raw || len(r.clauses) == 0 {
		return true, checkRaw(r, sql, tables)
	}
	for _, c := range r.clauses {
		text := c.text
		switch c.name {
		case "INSERT", "UPDATE", "DELETE":
			continue
		case "VALUES", "SET", "ON CONFLICT":
			if r.primary != nil {
				continue // made or looked into by the plugin
			}
		case "SELECT":
			list, rest, ok := selectList(text)
			if ok && strings.TrimSpace(rest) == "" {
				if err := checkList(list, r, tables); err != nil {
					return true, err
				}
				continue
			}
		case "RETURNING":
			list := strings.TrimSpace(text)
			if len(list) > 9 && strings.EqualFold(list[:9], "returning") {
				list = list[9:]
			}
			if err := checkList(list, r, tables); err != nil {
				return true, err
			}
			continue
		}
		if c.name == "WHERE" {
			text = nullTest.ReplaceAllString(text, "$1 ") // NULL is NULL, sealed or not
		}
		if t, column := mention(r.without(text), tables); t != nil {
			return true, t.fail(column, "in "+c.name, ErrSearch)
		}
	}
	return true, nil
}

// checkRaw looks at SQL that was given as text.
func checkRaw(r *record, sql string, tables []*sealedTable) error {
	text := strings.TrimRight(sql, "; \t\r\n")
	if strings.Contains(text, ";") {
		return tables[0].fail("", "several statements in one", ErrRaw)
	}
	writes := hasWord(text, "insert", "update", "replace", "merge", "copy", "load", "call", "do")
	first := firstWord(text)
	switch first {
	case "create", "alter", "drop", "truncate", "comment", "grant", "revoke", "analyze", "analyse", "vacuum", "reindex", "lock", "pragma", "show", "describe", "desc":
		if t, column := mention(text, tables); t != nil && first == "alter" && hasWord(text, "type", "modify", "change") {
			return t.fail(column, "it would convert what is sealed: give the field the type of its column, as type:bytea", ErrRaw)
		}
		if !hasWord(text, "select", "insert", "trigger", "function", "procedure") {
			return nil
		}
		return tables[0].fail("", "a definition that computes", ErrRaw)
	case "select":
		list, rest, _ := selectList(text)
		if hasWord(text, "insert", "delete", "merge", "into") {
			return tables[0].fail("", "it writes", ErrRaw)
		}
		if err := checkList(list, r, tables); err != nil {
			return err
		}
		text = rest
	case "delete":
	default:
		if writes || first == "with" && (strings.Contains(text, "*") || hasWord(text, "delete")) {
			return tables[0].fail("", "it writes: use Create, Save or Updates", ErrRaw)
		}
	}
	if first == "delete" && hasWord(text, "insert", "update", "replace", "merge") {
		return tables[0].fail("", "it writes: use Create, Save or Updates", ErrRaw)
	}
	if t, column := mention(text, tables); t != nil {
		return t.fail(column, "in raw SQL", ErrSearch)
	}
	if (hasWord(text, "union", "intersect", "except") || strings.Contains(text, "(")) && strings.Contains(text, "*") && first != "delete" {
		return tables[0].fail("", "a * in a part of a statement", ErrRaw)
	}
	return nil
}

// checkComputed refuses to have the database make a value out of a sealed column.
func (p *Plugin) checkComputed(stmt *gorm.Statement, t *sealedTable, columns []clause.Column, values []any) error {
	for i, v := range values {
		if !computed(v) || t.columns[bare(columns[i].Name)] != nil {
			continue
		}
		if err := p.checkText(stmt, t, bare(columns[i].Name), v); err != nil {
			return err
		}
	}
	return nil
}

// checkText refuses a part of a statement that names a sealed column.
func (p *Plugin) checkText(stmt *gorm.Statement, t *sealedTable, of string, part any) error {
	scratch := &gorm.Statement{DB: stmt.DB, Table: stmt.Table, Schema: stmt.Schema, Context: stmt.Context, Clauses: map[string]clause.Clause{}}
	scratch.AddVar(scratch, part)
	text := scratch.SQL.String()
	if strings.Contains(text, refusedSQL) {
		return t.fail(of, "in a subquery", ErrSearch)
	}
	tables := p.tablesIn(text)
	if !contains(tables, t) {
		tables = append(tables, t)
	}
	if other, column := mention(text, tables); other != nil {
		return other.fail(column, "in an expression", ErrSearch)
	}
	return nil
}
