package catalog

import (
	"fmt"
	"regexp"
	"strings"
)

func (r *reader) sqlite([]string) error {
	pk := map[*Table][]string{}
	texts := map[*Table]string{}
	var table, kind, text, column, typ string
	var bare, strict, notNull bool
	var key, hidden int
	err := r.each(`SELECT l.name, l.type, l.wr, l.strict, COALESCE(m.sql, ''), c.name, c.type, c."notnull", c.pk, c.hidden
		FROM pragma_table_list l JOIN sqlite_schema m ON m.name = l.name AND m.type IN ('table', 'view') JOIN pragma_table_xinfo(l.name, 'main') c
		WHERE l.schema = 'main' AND l.type <> 'shadow' AND l.name NOT LIKE 'sqlite\_%' ESCAPE '\' AND c.hidden <> 1 ORDER BY l.name, c.cid`, nil,
		[]any{&table, &kind, &bare, &strict, &text, &column, &typ, &notNull, &key, &hidden}, func() {
			t := r.table("main", table)
			if t == nil {
				return
			}
			t.Default, t.Strict, texts[t] = true, strict, text
			switch kind {
			case "view":
				t.Form = View
			case "virtual":
				t.Form = Virtual
			}
			t.Columns = append(t.Columns, sqliteColumn(column, typ, strict, notNull || key > 0 && bare, hidden > 1))
			if key > 0 {
				pk[t] = append(pk[t], column)
				t.Reuses = len(pk[t]) == 1 && strings.EqualFold(typ, "integer") && !bare && !autoincrement.MatchString(text)
			}
		})
	if err != nil {
		return err
	}
	for _, t := range r.Tables {
		// The number of the row has no index in the catalogue.
		if len(pk[t]) == 1 && strings.EqualFold(r.Column(t, pk[t][0]).Type, "integer") {
			t.index("(rowid)", pk[t][0], true, false).Primary = true
		}
		t.Checks = checksIn(texts[t])
	}
	if err := r.sqliteIndexes(); err != nil {
		return err
	}
	if err := r.sqliteForeign(pk, texts); err != nil {
		return err
	}
	if err := r.sqliteWords(texts); err != nil {
		return err
	}
	var name string
	return r.each(`SELECT tbl_name, name FROM sqlite_schema WHERE type = 'trigger' AND sql NOT LIKE '%INSTEAD OF%' ORDER BY tbl_name, name`, nil, []any{&table, &name}, func() {
		if t := r.byID[r.id("main", table)]; t != nil {
			t.Triggers = append(t.Triggers, name)
		}
	})
}

// sqliteWords asks what full-text indexes do with words of rows that go. An FTS5
// keeps them where it was not told otherwise, and older kinds always do.
func (r *reader) sqliteWords(texts map[*Table]string) error {
	for _, t := range r.Tables {
		using := fullText.FindStringSubmatch(texts[t])
		if t.Form != Virtual || using == nil {
			continue
		}
		t.Words = &Words{Kept: true}
		if of := content.FindStringSubmatch(texts[t]); of != nil {
			t.Words.Of = strings.Trim(of[1], `"'`+"`[] ")
		}
		if strings.EqualFold(using[1], "fts5") {
			query := `SELECT CAST(v AS INTEGER) = 0 FROM main."` + strings.ReplaceAll(t.Name+"_config", `"`, `""`) + `" WHERE k = 'secure-delete'`
			if err := r.each(query, nil, []any{&t.Words.Kept}, func() {}); err != nil {
				return err
			}
		}
		err := r.each(`SELECT COUNT(*) > 0 FROM sqlite_schema WHERE type = 'trigger' AND INSTR(LOWER(sql), LOWER(?)) > 0`, []any{t.Name}, []any{&t.Words.Synced}, func() {})
		if err != nil {
			return err
		}
	}
	return nil
}

var (
	where    = regexp.MustCompile(`(?is)\)\s*where\b.*$`)
	fullText = regexp.MustCompile(`(?i)\busing\s+(fts\d)\b`)
	content  = regexp.MustCompile(`(?i)[(,]\s*content\s*=\s*([^,)]*)`)
)

var autoincrement = regexp.MustCompile(`(?i)\bautoincrement\b`)

// sqliteColumn knows types in STRICT tables only; elsewhere each value has a
// class of its own.
func sqliteColumn(name, typ string, strict, notNull, generated bool) Column {
	c := Column{Name: name, Type: strings.ToLower(typ), Class: Any, NotNull: notNull, Generated: generated}
	if strict {
		c.Class = map[string]Class{"int": Integer, "integer": Integer, "real": Number, "text": Text, "blob": Bytes}[c.Type]
	}
	if c.Class == "" {
		c.Class = Any
	}
	return c
}

func (r *reader) sqliteIndexes() error {
	var table, name, column, collation, text string
	var unique, partial, primary bool
	return r.each(`SELECT m.name, l.name, l."unique", l.partial, l.origin = 'pk', COALESCE(i.name, ''), COALESCE(i.coll, ''), COALESCE(x.sql, '')
		FROM sqlite_schema m JOIN pragma_index_list(m.name, 'main') l JOIN pragma_index_xinfo(l.name, 'main') i LEFT JOIN sqlite_schema x ON x.type = 'index' AND x.name = l.name
		WHERE m.type = 'table' AND i.key = 1 ORDER BY m.name, l.seq, i.seqno`, nil,
		[]any{&table, &name, &unique, &partial, &primary, &column, &collation, &text}, func() {
			t := r.byID[r.id("main", table)]
			if t == nil {
				return
			}
			i := t.index(name, column, unique, partial)
			if i.Primary = primary; column == "" { // an expression: the statement has it
				_, inside, _ := strings.Cut(text, "(")
				i.Expressions = []string{where.ReplaceAllString(inside, "")}
			}
			if c := r.Column(t, column); c != nil && !strings.EqualFold(collation, "binary") {
				c.Loose, c.Collation = true, collation // as far as an index tells
			}
		})
}

func (r *reader) sqliteForeign(pk map[*Table][]string, texts map[*Table]string) error {
	var table, parent, column, to, rule string
	var id, at int
	return r.each(`SELECT m.name, f.id, f.seq, f."table", f."from", COALESCE(f."to", ''), upper(f.on_delete)
		FROM sqlite_schema m JOIN pragma_foreign_key_list(m.name, 'main') f WHERE m.type = 'table' ORDER BY m.name, f.id, f.seq`, nil,
		[]any{&table, &id, &at, &parent, &column, &to, &rule}, func() {
			child := r.byID[r.id("main", table)]
			if child == nil {
				return
			}
			key := ForeignKey{Name: fmt.Sprint("foreign key ", id), Child: child, Parent: r.byID[r.id("main", parent)], OnDelete: ruleOf(rule)}
			key.Deferred = deferred.MatchString(texts[child]) // of one of the table's
			if to == "" && key.Parent != nil && at < len(pk[key.Parent]) {
				to = pk[key.Parent][at]
			}
			r.foreign(key, column, to)
		})
}

var deferred = regexp.MustCompile(`(?i)\binitially\s+deferred\b`)

func ruleOf(text string) Rule {
	switch rule := Rule(text); rule {
	case Cascade, SetNull, SetDefault:
		return rule
	default:
		return Refuse
	}
}

var check = regexp.MustCompile(`(?i)\bcheck\s*\(`)

// checksIn finds the conditions in the statement that made a table. It reads
// too much rather than too little: a CHECK in a comment or a text is one.
func checksIn(text string) []Check {
	var checks []Check
	for _, at := range check.FindAllStringIndex(text, -1) {
		depth, quoted := 1, byte(0)
		for i := at[1]; i < len(text) && depth > 0; i++ {
			switch c := text[i]; {
			case quoted != 0:
				if c == quoted {
					quoted = 0
				}
			case c == '\'' || c == '"' || c == '`':
				quoted = c
			case c == '(':
				depth++
			case c == ')':
				if depth--; depth == 0 {
					checks = append(checks, Check{Text: text[at[1]:i]})
				}
			}
		}
	}
	return checks
}
