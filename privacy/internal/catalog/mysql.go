package catalog

import (
	"strings"

	"github.com/crmguard/crmguard/internal/sqldb"
)

func (r *reader) mysql(more []string) error {
	schemas := "(DATABASE()" + strings.Repeat(", ?", len(more)) + ")"
	args := make([]any, len(more))
	for i, schema := range more {
		args[i] = schema
	}
	if err := r.each(`SELECT @@lower_case_table_names = 0`, nil, []any{&r.exact}, func() {}); err != nil {
		return err
	}
	var schema, table, kind string
	var inUse, atomic bool
	err := r.each(`SELECT t.TABLE_SCHEMA, t.TABLE_NAME, t.TABLE_SCHEMA = DATABASE(), t.TABLE_TYPE, t.TABLE_TYPE = 'VIEW' OR COALESCE(e.TRANSACTIONS, 'NO') = 'YES'
		FROM information_schema.TABLES t LEFT JOIN information_schema.ENGINES e ON e.ENGINE = t.ENGINE
		WHERE t.TABLE_SCHEMA IN `+schemas+` AND t.TABLE_TYPE IN ('BASE TABLE', 'SYSTEM VERSIONED', 'VIEW')`, args,
		[]any{&schema, &table, &inUse, &kind, &atomic}, func() {
			if t := r.table(schema, table); t != nil {
				t.Default, t.Atomic = inUse, atomic
				t.Form = map[string]Form{"BASE TABLE": Plain, "SYSTEM VERSIONED": Versioned, "VIEW": View}[kind]
			}
		})
	if err != nil {
		return err
	}
	var column, typ, written, collation, generated string
	var notNull, renewed bool
	var size int64
	err = r.each(`SELECT TABLE_SCHEMA, TABLE_NAME, COLUMN_NAME, LOWER(DATA_TYPE), COLUMN_TYPE, CAST(COALESCE(CHARACTER_MAXIMUM_LENGTH, 0) AS SIGNED), COALESCE(COLLATION_NAME, ''),
			IS_NULLABLE = 'NO', COALESCE(GENERATION_EXPRESSION, ''), LOWER(EXTRA) LIKE '%on update%'
		FROM information_schema.COLUMNS WHERE TABLE_SCHEMA IN `+schemas+` ORDER BY TABLE_SCHEMA, TABLE_NAME, ORDINAL_POSITION`, args,
		[]any{&schema, &table, &column, &typ, &written, &size, &collation, &notNull, &generated, &renewed}, func() {
			t := r.byID[r.id(schema, table)]
			if t == nil {
				return
			}
			c := Column{Name: column, Type: typ, Class: mysqlClass(typ, written), NotNull: notNull, Generated: generated != "", Made: generated, Renewed: renewed, Loose: loose(collation)}
			if c.Class == Text || c.Class == Bytes {
				c.Size = size
			}
			if c.Class == Enum {
				c.Labels = labels(written)
			}
			t.Columns = append(t.Columns, c)
		})
	if err != nil {
		return err
	}
	for _, more := range []func(string, []any) error{r.mysqlIndexes, r.mysqlFullText, r.mysqlForeign, r.mysqlChecks, r.mysqlTriggers} {
		if err := more(schemas, args); err != nil {
			return err
		}
	}
	return nil
}

func mysqlClass(typ, written string) Class {
	if written == "tinyint(1)" {
		return Bool
	}
	classes := map[string]Class{
		"char": Text, "varchar": Text, "tinytext": Text, "text": Text, "mediumtext": Text, "longtext": Text, "enum": Enum, "set": Compound, "json": JSON,
		"tinyint": Integer, "smallint": Integer, "mediumint": Integer, "int": Integer, "bigint": Integer, "decimal": Number, "float": Number, "double": Number,
		"date": Date, "datetime": Instant, "timestamp": Instant, "uuid": UUID,
		"binary": Bytes, "varbinary": Bytes, "tinyblob": Bytes, "blob": Bytes, "mediumblob": Bytes, "longblob": Bytes,
		"geometry": Compound, "point": Compound, "linestring": Compound, "polygon": Compound,
		"multipoint": Compound, "multilinestring": Compound, "multipolygon": Compound, "geometrycollection": Compound,
	}
	if c, ok := classes[typ]; ok {
		return c
	}
	return Other
}

// loose: a collation of MariaDB and MySQL that is of bytes, but pads with blanks,
// takes 'a' and 'a ' for one.
func loose(collation string) bool {
	return collation != "" && collation != "binary" && !strings.HasSuffix(collation, "_nopad_bin") && collation != "utf8mb4_0900_bin"
}

// labels reads enum('a','it”s').
func labels(written string) []string {
	_, rest, _ := strings.Cut(written, "('")
	var out []string
	for one := range strings.SplitSeq(strings.TrimSuffix(rest, "')"), "','") {
		out = append(out, strings.ReplaceAll(one, "''", "'"))
	}
	return out
}

func (r *reader) mysqlIndexes(schemas string, args []any) error {
	var schema, table, name, column string
	var unique bool
	return r.each(`SELECT TABLE_SCHEMA, TABLE_NAME, INDEX_NAME, NON_UNIQUE = 0, IF(SUB_PART IS NULL, COALESCE(COLUMN_NAME, ''), '')
		FROM information_schema.STATISTICS WHERE INDEX_TYPE IN ('BTREE', 'HASH') AND TABLE_SCHEMA IN `+schemas+` ORDER BY 1, 2, 3, SEQ_IN_INDEX`, args,
		[]any{&schema, &table, &name, &unique, &column}, func() {
			if t := r.byID[r.id(schema, table)]; t != nil {
				t.index(name, column, unique, false).Primary = name == "PRIMARY"
			}
		})
}

func (r *reader) mysqlFullText(schemas string, args []any) error {
	var schema, table, name string
	return r.each(`SELECT DISTINCT TABLE_SCHEMA, TABLE_NAME, INDEX_NAME FROM information_schema.STATISTICS WHERE INDEX_TYPE = 'FULLTEXT' AND TABLE_SCHEMA IN `+schemas+` ORDER BY 1, 2, 3`, args,
		[]any{&schema, &table, &name}, func() {
			if t := r.byID[r.id(schema, table)]; t != nil {
				t.FullText = append(t.FullText, name)
			}
		})
}

// mysqlForeign reads those of other databases into these, too, as far as the
// account sees them.
func (r *reader) mysqlForeign(schemas string, args []any) error {
	var childSchema, child, name, column, parentSchema, parent, to, rule string
	both := append(append([]any{}, args...), args...)
	return r.each(`SELECT k.TABLE_SCHEMA, k.TABLE_NAME, k.CONSTRAINT_NAME, k.COLUMN_NAME, k.REFERENCED_TABLE_SCHEMA, k.REFERENCED_TABLE_NAME, k.REFERENCED_COLUMN_NAME, f.DELETE_RULE
		FROM information_schema.KEY_COLUMN_USAGE k
		JOIN information_schema.REFERENTIAL_CONSTRAINTS f ON f.CONSTRAINT_SCHEMA = k.CONSTRAINT_SCHEMA AND f.CONSTRAINT_NAME = k.CONSTRAINT_NAME AND f.TABLE_NAME = k.TABLE_NAME
		WHERE k.REFERENCED_TABLE_NAME IS NOT NULL AND (k.TABLE_SCHEMA IN `+schemas+` OR k.REFERENCED_TABLE_SCHEMA IN `+schemas+`) ORDER BY 1, 2, 3, k.ORDINAL_POSITION`, both,
		[]any{&childSchema, &child, &name, &column, &parentSchema, &parent, &to, &rule}, func() {
			from := r.byID[r.id(childSchema, child)]
			if from == nil {
				if Ours(child) {
					return
				}
				from = &Table{Schema: childSchema, Name: child, Form: Plain, Atomic: true} // of another database
				r.byID[r.id(childSchema, child)] = from
			}
			r.foreign(ForeignKey{Name: name, Child: from, Parent: r.byID[r.id(parentSchema, parent)], OnDelete: ruleOf(rule)}, column, to)
		})
}

func (r *reader) mysqlChecks(schemas string, args []any) error {
	table := "k.TABLE_NAME"
	join := ""
	if r.Kind == sqldb.MySQL {
		table = "c.TABLE_NAME"
		join = ` JOIN information_schema.TABLE_CONSTRAINTS c ON c.CONSTRAINT_SCHEMA = k.CONSTRAINT_SCHEMA AND c.CONSTRAINT_NAME = k.CONSTRAINT_NAME AND c.CONSTRAINT_TYPE = 'CHECK'`
	}
	var schema, of, name, text string
	return r.each(`SELECT k.CONSTRAINT_SCHEMA, `+table+`, k.CONSTRAINT_NAME, k.CHECK_CLAUSE FROM information_schema.CHECK_CONSTRAINTS k`+join+`
		WHERE k.CONSTRAINT_SCHEMA IN `+schemas+` ORDER BY 1, 2, 3`, args,
		[]any{&schema, &of, &name, &text}, func() {
			t := r.byID[r.id(schema, of)]
			if t == nil {
				return
			}
			// The JSON of MariaDB is a text with this check.
			if c := r.Column(t, name); c != nil && strings.EqualFold(text, "json_valid(`"+name+"`)") {
				c.Class = JSON
				return
			}
			t.Checks = append(t.Checks, Check{name, text})
		})
}

func (r *reader) mysqlTriggers(schemas string, args []any) error {
	var schema, table, name string
	return r.each(`SELECT EVENT_OBJECT_SCHEMA, EVENT_OBJECT_TABLE, TRIGGER_NAME FROM information_schema.TRIGGERS
		WHERE EVENT_MANIPULATION IN ('UPDATE', 'DELETE') AND EVENT_OBJECT_SCHEMA IN `+schemas+` ORDER BY 1, 2, 3`, args,
		[]any{&schema, &table, &name}, func() {
			if t := r.byID[r.id(schema, table)]; t != nil {
				t.Triggers = append(t.Triggers, name)
			}
		})
}
