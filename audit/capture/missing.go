package capture

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"

	"github.com/crmguard/crmguard/internal/sqldb"
)

// A Lack says why changes of a table are not captured, or not as its
// description says.
type Lack struct {
	Table string // as Table.Name
	Why   string // with the remedy
}

// Missing compares the database with the descriptions and answers what lacks:
// triggers that are not there or are disabled, also on one partition, tables
// whose columns are others by now, another pack. It needs no rights. Call it at
// start, and every few minutes: whoever owns a table can take its trigger away,
// and only such a question notices it, as a trigger that is not there says
// nothing.
func Missing(ctx context.Context, db *sql.DB, tables ...Table) ([]Lack, error) {
	if db == nil {
		return nil, &TableError{Field: "Missing", Why: "was given no database: hand it in"}
	}
	for _, t := range tables {
		if err := t.check(); err != nil {
			return nil, err
		}
	}
	asked, err := sqldb.Open(ctx, db)
	if err != nil {
		return nil, fmt.Errorf("capture: %w", err)
	}
	if asked.Kind != sqldb.Postgres {
		return nil, fmt.Errorf("capture: triggers are written for PostgreSQL only, this is %s: %w", asked.Kind, errors.ErrUnsupported)
	}
	var lacks []Lack
	err = asked.ReadCatalog(ctx, func(q sqldb.Querier) error {
		lacks = nil // it may be called again
		for _, t := range tables {
			why, err := t.missing(ctx, q)
			if err != nil {
				return err
			}
			if why != "" {
				lacks = append(lacks, Lack{t.Name, why})
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("capture: look for triggers: %w", err)
	}
	return lacks, nil
}

// lookForTrigger asks the catalogue alone: to_regclass wants USAGE on the schema.
// The trigger of a partition has the name of its table's.
const lookForTrigger = `
WITH RECURSIVE root AS (SELECT (SELECT c.oid FROM pg_class c, pg_namespace n WHERE c.relnamespace = n.oid AND c.relname = $2::text
		AND CASE WHEN $1::text = '' THEN pg_table_is_visible(c.oid) ELSE n.nspname = $1::text END) AS rel),
parts (rel) AS (
	SELECT i.inhrelid FROM pg_inherits i, root WHERE i.inhparent = root.rel
	UNION ALL
	SELECT i.inhrelid FROM pg_inherits i, parts WHERE i.inhparent = parts.rel)
SELECT root.rel IS NOT NULL,
	COALESCE(rows.tgenabled::text || rows.tgtype::text, ''),
	COALESCE(whole.tgenabled::text, ''),
	COALESCE(obj_description(rows.tgfoid, 'pg_proc'), ''),
	COALESCE((SELECT string_agg(format('%I %s.%s %s', a.attname, (SELECT s.nspname FROM pg_type y, pg_namespace s WHERE y.oid = a.atttypid AND s.oid = y.typnamespace), (SELECT y.typname FROM pg_type y WHERE y.oid = a.atttypid), a.atttypmod), ', ' ORDER BY a.attname)
		FROM pg_attribute a WHERE a.attrelid = root.rel AND a.attnum > 0 AND NOT a.attisdropped), ''),
	COALESCE((SELECT min(c.oid::regclass::text) FROM pg_class c, parts WHERE c.oid = parts.rel AND c.relkind <> 'p'
		AND NOT EXISTS (SELECT FROM pg_trigger t WHERE t.tgrelid = c.oid AND t.tgname = 'crmguard_audit_capture' AND t.tgenabled IN ('O', 'A'))), ''),
	COALESCE((SELECT p.prosecdef FROM pg_proc p WHERE p.oid = rows.tgfoid), false),
	current_setting('session_replication_role')
FROM root
	LEFT JOIN pg_trigger rows ON rows.tgrelid = root.rel AND rows.tgname = 'crmguard_audit_capture'
	LEFT JOIN pg_trigger whole ON whole.tgrelid = root.rel AND whole.tgname = 'crmguard_audit_capture_truncate'`

// missing says what the table lacks, "" for nothing.
func (t *Table) missing(ctx context.Context, q sqldb.Querier) (string, error) {
	schema, name, found := strings.Cut(t.Name, ".")
	if !found {
		schema, name = "", t.Name
	}
	var there, definer bool
	var rows, whole, comment, columns, part, role string
	if err := sqldb.One(ctx, q, []any{&there, &rows, &whole, &comment, &columns, &part, &definer, &role}, lookForTrigger, schema, name); err != nil {
		return "", err
	}
	switch {
	case !there:
		return "there is no such table on the search path: correct Name, or take it out", nil
	case rows == "" || whole == "":
		return "a trigger is not there: apply the pack", nil
	case rows != "O29" && rows != "A29" || whole != "O" && whole != "A":
		return "a trigger is disabled, or another one has its name: apply the pack", nil
	case part != "":
		return "a partition or heir has no trigger of its own, or a disabled one: apply the pack again, or capture " + part + " by its own name", nil
	case !definer || comment != t.comment(columns):
		return "columns have changed since the pack was applied, or another pack was: apply this one again", nil
	case role == "replica":
		return "session_replication_role is replica in sessions such as this one, in which no trigger fires: reset it", nil
	}
	return "", nil
}

// comment is what the pack writes on the function of the table.
func (t *Table) comment(columns string) string {
	return "crmguard capture " + t.spec() + " of " + columns
}
