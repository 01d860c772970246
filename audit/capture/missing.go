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
// whose columns are others by now, another pack, captured rows that stand where this
// session does not read them. It needs no right on the tables, and the search path of
// the trail that files. Call it at start, and every few minutes: whoever owns a table
// can take its trigger away, and only such a question notices it, as a trigger that is
// not there says nothing.
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
// The trigger of a partition has the name of its table's. What the triggers and their
// function have to be is what up makes of the table as it is today: whoever makes one
// anew under the same name says nothing of it. The captured rows have to be those that
// this session reads: in a table of the same name elsewhere nobody finds them.
const lookForTrigger = `
WITH RECURSIVE given (name, label, kind, key, tenant, tenant_column, person, skip, routine, spec) AS (VALUES
/* table */
),
root AS (SELECT (SELECT c.oid FROM pg_class c, pg_namespace n WHERE c.relnamespace = n.oid AND c.relname = /* name */
		AND CASE WHEN /* schema */ = '' THEN pg_table_is_visible(c.oid) ELSE n.nspname = /* schema */ END) AS rel),
parts (rel) AS (
	SELECT i.inhrelid FROM pg_inherits i, root WHERE i.inhparent = root.rel
	UNION ALL
	SELECT i.inhrelid FROM pg_inherits i, parts WHERE i.inhparent = parts.rel),
triggers AS (
	SELECT t.tgname, t.tgfoid, t.tgenabled IN ('O', 'A') AND t.tgqual IS NULL AND t.tgattr::text = '' AND t.tgconstraint = 0
			AND t.tgtype = CASE t.tgname WHEN 'crmguard_audit_capture' THEN 29 ELSE 32 END AS made
		FROM pg_trigger t, root WHERE t.tgrelid = root.rel AND t.tgname IN ('crmguard_audit_capture', 'crmguard_audit_capture_truncate')),
target AS (
	SELECT given.*, root.rel, p.oid AS function, p.prosrc, p.proconfig, p.prosecdef, p.proowner, c.relowner, CASE WHEN n.nspname IS NOT NULL THEN format('%I.crmguard_audit_captured', n.nspname) END AS captured
		FROM root CROSS JOIN given
		LEFT JOIN pg_proc p ON p.oid = (SELECT t.tgfoid FROM triggers t WHERE t.tgname = 'crmguard_audit_capture')
		LEFT JOIN pg_class c ON c.relname = 'crmguard_audit_captured' AND pg_table_is_visible(c.oid)
		LEFT JOIN pg_namespace n ON n.oid = c.relnamespace)
SELECT target.rel IS NOT NULL,
	(SELECT count(*) = 2 FROM triggers),
	COALESCE((SELECT bool_and(t.made AND t.tgfoid = target.function) FROM triggers t), false),
	COALESCE((SELECT min(c.oid::regclass::text) FROM pg_class c, parts WHERE c.oid = parts.rel AND c.relkind <> 'p'
		AND NOT EXISTS (SELECT FROM pg_trigger t, pg_proc p WHERE t.tgrelid = c.oid AND t.tgname = 'crmguard_audit_capture' AND t.tgenabled IN ('O', 'A')
			AND t.tgtype = 29 AND t.tgattr::text = '' AND t.tgqual IS NULL AND t.tgconstraint = 0 AND p.oid = t.tgfoid AND p.proowner = target.relowner
			AND (p.oid = target.function OR p.proname ~ '^crmguard_audit_capture_[0-9a-f]{16}$'))), ''),
	target.relowner IS NOT NULL,
	COALESCE(obj_description(target.function, 'pg_proc') = format('crmguard capture %s of %s', target.spec, f.columns), false),
	COALESCE(target.proowner = target.relowner AND target.prosecdef AND target.prosrc = f.body AND target.proconfig = ARRAY['search_path=pg_catalog, pg_temp'] || f.settings, false),
	current_setting('session_replication_role')
FROM target CROSS JOIN LATERAL (
/* function */
) f`

// missing says what the table lacks, "" for nothing.
func (t *Table) missing(ctx context.Context, q sqldb.Querier) (string, error) {
	schema, name, found := strings.Cut(t.Name, ".")
	if !found {
		schema, name = "", t.Name
	}
	row, err := t.row()
	if err != nil {
		return "", err
	}
	query := strings.NewReplacer("/* table */", row, "/* name */", literal(name), "/* schema */", literal(schema)).Replace(withFunction(lookForTrigger))
	var there, both, made, seen, packed, same bool
	var part, role string
	if err := sqldb.One(ctx, q, []any{&there, &both, &made, &part, &seen, &packed, &same, &role}, query); err != nil {
		return "", err
	}
	switch {
	case !there:
		return "there is no such table on the search path: correct Name, or take it out", nil
	case !both:
		return "a trigger is not there: apply the pack", nil
	case !made:
		return "a trigger is disabled or deferred, has a condition, or is another one under its name: apply the pack", nil
	case !seen:
		return "this session sees no crmguard_audit_captured: name its schema in search_path, as for the trail that files, or apply the pack", nil
	case part != "":
		return "a partition or heir has no trigger of its own, or one that is disabled or another: apply the pack again, or capture " + part + " by its own name", nil
	case !packed:
		return "columns or the key have changed since the pack was applied, or another pack was: apply this one again", nil
	case !same:
		return "the function of the trigger is not the one that the pack makes: find out who has replaced it, and apply the pack", nil
	case role == "replica":
		return "session_replication_role is replica in sessions such as this one, in which no trigger fires: reset it", nil
	}
	return "", nil
}
