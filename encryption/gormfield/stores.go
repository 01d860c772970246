package gormfield

import (
	"regexp"
	"slices"
	"strconv"
	"strings"

	"gorm.io/gorm"

	"github.com/crmguard/crmguard/internal/value"
)

// Which row an upsert meets is decided by what the database stores, and that is not
// always what it was given: a type rounds, cuts or fills up, a trigger writes
// something else, a default makes the key. So each column is asked for.

// stores is what the database makes of the columns of an INSERT, by name. Of one
// that is not there nothing is known.
type stores map[string]stored

type stored struct {
	as    func(given any) bool // holds for a value, as [value.Resolve] has it, that is stored as it is
	null  bool                 // a NULL meets no row
	fresh bool                 // where no value is given, it is one that no row has, or NULL
	drawn bool                 // where no value is given, a sequence of PostgreSQL says which
}

// keeps says whether a value is stored as it is given.
func (s stored) keeps(given any) bool {
	said, err := value.Resolve(given)
	raw, isBytes := said.([]byte)
	return s.as != nil && err == nil && (said == nil || isBytes && raw == nil || s.as(said))
}

// storesOf asks the database for the columns of a table, and for the triggers that
// may write something else into them.
func storesOf(stmt *gorm.Statement) (out stores, err error) {
	var triggers [][2]string // a language, and what is written in it
	switch stmt.Name() {
	case "postgres":
		out, triggers, err = storesOnPostgres(stmt)
	case "mysql":
		out, triggers, err = storesOnMySQL(stmt)
	case "sqlite": // whose triggers cannot change a row that is inserted
		out, err = storesOnSQLite(stmt)
	}
	for _, trigger := range triggers {
		written, known := writtenBy(trigger[0], trigger[1])
		for name := range out {
			if !known || slices.Contains(written, name) {
				delete(out, name)
			}
		}
	}
	return out, err
}

var (
	returns  = regexp.MustCompile(`\breturn\s+(new|old|null)\s*;`)
	returned = regexp.MustCompile(`\breturn\b`)
	newRow   = regexp.MustCompile(`\bnew\b(\s*\.\s*("[^"]+"|` + "`[^`]+`" + `|\w+))?`)
)

// writtenBy are the columns that a trigger may write into the row that is inserted:
// those that it names. Where it does anything else with that row, none is known.
func writtenBy(language, source string) (columns []string, known bool) {
	source = strings.ToLower(source)
	if language == "plpgsql" {
		source = returns.ReplaceAllString(source, " ")
	}
	if language != "plpgsql" && language != "mysql" || language == "plpgsql" && returned.MatchString(source) {
		return nil, false
	}
	for _, found := range newRow.FindAllStringSubmatch(source, -1) {
		if found[2] == "" {
			return nil, false
		}
		columns = append(columns, bare(found[2]))
	}
	return columns, true
}

func isText(said any) bool { _, ok := said.(string); return ok }

func storesOnPostgres(stmt *gorm.Statement) (stores, [][2]string, error) {
	table := stmt.Quote(stmt.Table)
	columns, err := shownRows(stmt, `WITH RECURSIVE c (name, type, mod, identity, made) AS (
			SELECT a.attname, a.atttypid, a.atttypmod, a.attidentity <> '', pg_catalog.pg_get_expr(d.adbin, d.adrelid) FROM pg_catalog.pg_attribute a
			JOIN pg_catalog.pg_class r ON r.oid = a.attrelid AND r.relkind IN ('r', 'p')
			LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
			WHERE a.attrelid = pg_catalog.to_regclass($1) AND a.attnum > 0 AND NOT a.attisdropped
			UNION ALL SELECT c.name, t.typbasetype, t.typtypmod, c.identity, COALESCE(c.made, t.typdefault || ' of a domain') FROM c JOIN pg_catalog.pg_type t ON t.oid = c.type AND t.typtype = 'd')
		SELECT c.name, t.typname AS type, c.mod <> -1 AS mod, c.identity, c.made FROM c JOIN pg_catalog.pg_type t ON t.oid = c.type AND t.typtype <> 'd'`, table)
	if err != nil {
		return nil, nil, err
	}
	out := stores{}
	for _, c := range columns {
		made, typ := c["made"].String, c["type"].String
		s := stored{
			as:    func(any) bool { return true },
			drawn: c["identity"].String == "true" || nextval.MatchString(made),
			fresh: typ == "uuid" && drawsUUID.MatchString(made),
		}
		if c["mod"].String == "true" {
			// Digits or seconds that are rounded; text whose blanks at the end are cut.
			s.as = func(said any) bool {
				text, ok := said.(string)
				return (typ == "varchar" || typ == "bpchar") && (!ok || !strings.HasSuffix(text, " "))
			}
		}
		out[bare(c["name"].String)] = s
	}
	rows, err := shownRows(stmt, `WITH RECURSIVE tree (id) AS (
			SELECT CAST(pg_catalog.to_regclass($1) AS oid) UNION SELECT i.inhrelid FROM pg_catalog.pg_inherits i JOIN tree ON tree.id = i.inhparent)
		SELECT l.lanname AS language, p.prosrc AS source FROM tree JOIN pg_catalog.pg_trigger t ON t.tgrelid = tree.id
		JOIN pg_catalog.pg_proc p ON p.oid = t.tgfoid JOIN pg_catalog.pg_language l ON l.oid = p.prolang
		WHERE NOT t.tgisinternal AND t.tgenabled <> 'D' AND t.tgtype & 7 = 7`, table) // of a row, BEFORE, INSERT
	var triggers [][2]string
	for _, row := range rows {
		triggers = append(triggers, [2]string{row["language"].String, row["source"].String})
	}
	return out, triggers, err
}

var (
	nextval   = regexp.MustCompile(`^nextval\('[^']+'::regclass\)$`)
	drawsUUID = regexp.MustCompile(`^(\w+\.)?(gen_random_uuid|uuidv[47]|uuid_generate_v[14])\(\)$`)
)

func storesOnMySQL(stmt *gorm.Statement) (stores, [][2]string, error) {
	columns, err := shownRows(stmt, "SHOW COLUMNS FROM "+stmt.Quote(stmt.Table))
	if err != nil {
		return nil, nil, err
	}
	const at = "COALESCE(NULLIF(?, ''), DATABASE())"
	schema, name := parts(stmt.Table)
	session, err := shownRows(stmt, "SELECT @@SESSION.sql_mode LIKE '%STRICT_%' AS strict, (SELECT COUNT(*) FROM information_schema.TABLES WHERE TABLE_SCHEMA = "+at+" AND TABLE_NAME = ? AND TABLE_TYPE = 'BASE TABLE') AS plain", schema, name)
	if err != nil || len(session) != 1 || session[0]["strict"].String != "1" || session[0]["plain"].String == "0" {
		return nil, nil, err // whatever does not fit is made to fit
	}
	out := stores{}
	for _, c := range columns {
		extra, from := strings.ToLower(c["extra"].String), strings.ToLower(c["default"].String)
		draws := strings.Contains(extra, "auto_increment")
		nullable := c["null"].String == "YES"
		empty := nullable && (!c["default"].Valid || from == "null") && !strings.Contains(extra, "generated")
		out[bare(c["field"].String)] = stored{
			as: storedOnMySQL(strings.ToLower(c["type"].String)), null: draws || nullable, fresh: draws || empty || strings.HasPrefix(from, "uuid("),
		}
	}
	rows, err := shownRows(stmt, "SELECT ACTION_STATEMENT AS source FROM information_schema.TRIGGERS WHERE EVENT_OBJECT_SCHEMA = "+at+" AND EVENT_OBJECT_TABLE = ? AND ACTION_TIMING = 'BEFORE' AND EVENT_MANIPULATION = 'INSERT'", schema, name)
	var triggers [][2]string
	for _, row := range rows {
		triggers = append(triggers, [2]string{"mysql", row["source"].String})
	}
	return out, triggers, err
}

// storedOnMySQL says which values a type of MySQL or MariaDB stores as they are, or
// refuses, where the session is strict.
func storedOnMySQL(typ string) func(said any) bool {
	end := strings.IndexAny(typ, "( ")
	name, size := typ, 0
	if end > 0 {
		name = typ[:end]
		size, _ = strconv.Atoi(strings.TrimRight(typ[end+1:], ")"))
	}
	switch name {
	case "tinyint", "smallint", "mediumint", "int", "bigint":
		return isWhole
	case "char", "varchar", "tinytext", "text", "mediumtext", "longtext":
		return func(said any) bool { // blanks at the end are cut, and bytes compare without the collation
			text, ok := said.(string)
			return ok && !strings.HasSuffix(text, " ") || isWhole(said)
		}
	case "binary": // filled up
		return func(said any) bool {
			raw, ok := said.([]byte)
			text, is := said.(string)
			return (ok || is) && len(raw)+len(text) == size
		}
	case "varbinary", "tinyblob", "blob", "mediumblob", "longblob":
		return func(said any) bool { _, ok := said.([]byte); return ok || isText(said) }
	case "uuid":
		return isText
	}
	return func(any) bool { return false }
}

func isWhole(said any) bool {
	switch said.(type) {
	case bool, int, int8, int16, int32, int64, uint, uint8, uint16, uint32, uint64:
		return true
	}
	return false
}

// storesOnSQLite: a type only prefers a class of values, and compares by it. A key
// is made by the database where it stands for the rowid: then no index keeps it.
func storesOnSQLite(stmt *gorm.Statement) (stores, error) {
	schema, table := parts(stmt.Table)
	columns, err := shownRows(stmt, `SELECT name, dflt_value AS made, pk > 0 AND lower(type) = 'integer'
		AND (SELECT COUNT(*) FROM pragma_table_info(?, NULLIF(?, '')) WHERE pk > 0) = 1
		AND NOT EXISTS (SELECT 1 FROM pragma_index_list(?, NULLIF(?, '')) WHERE origin = 'pk') AS rowid
		FROM pragma_table_info(?, NULLIF(?, ''))`, table, schema, table, schema, table, schema)
	out := stores{}
	for _, c := range columns {
		out[bare(c["name"].String)] = stored{
			as: func(any) bool { return true }, null: true, fresh: c["rowid"].String == "1" || !c["made"].Valid || strings.EqualFold(c["made"].String, "NULL"),
		}
	}
	return out, err
}

// parts are those of the name of a table.
func parts(table string) (schema, name string) {
	if i := strings.LastIndexByte(table, '.'); i >= 0 {
		schema, table = table[:i], table[i+1:]
	}
	return strings.Trim(schema, "`\""), strings.Trim(table, "`\"")
}
