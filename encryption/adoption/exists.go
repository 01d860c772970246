package adoption

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/internal/sqldb"
)

// Exists says what the error of an INSERT or UPDATE means, the same lines at every
// stage: where a UNIQUE or PRIMARY KEY over an adopted column refused it, that over the
// column in the clear up to ReadSealed and that over an index column from WriteBoth on,
// the answer is encryption.ErrExists with table and column, and without the values that
// databases and drivers quote. Any other error, that of another table too, and nil,
// comes back as it is; MariaDB does not say of which table a constraint is, so hand over
// what statements about this one return.
//
// The columns decide, whatever the constraint is called: SQLite names them, on the
// others the catalogue is asked, on a connection of its own, since a transaction of
// PostgreSQL that failed answers nothing. Where the pool has none left, as one that the
// caller's transaction holds, where no answer comes in two seconds, and where the name
// has other characters than letters, digits, _ and $, the name alone decides: it names
// the column, as it does where the database gave it ([encryption.SealedTable.Exists]).
func (a *Adoption) Exists(ctx context.Context, err error) error {
	refused, ok := errors.AsType[*sqldb.DriverError](sqldb.Safe(err))
	if !ok || !slices.Contains([]string{"23505", "mysql 1062", "mysql 1586", "sqlite 1555", "sqlite 2067"}, refused.Code) {
		return err
	}
	parts, known := a.uniqueOver(ctx, refused)
	for _, c := range a.def.Columns {
		over := func(name string) bool {
			return name != "" && slices.ContainsFunc(parts, func(part string) bool { return wordIn(part, name) })
		}
		plain := a.columns[c.Name].Plain
		if !known && plain != "" {
			over = func(name string) bool {
				return name == plain && (refused.Column == name || strings.Contains("_"+refused.Constraint+"_", "_"+name+"_"))
			}
		}
		if over(plain) || slices.ContainsFunc(c.Index, func(x encryption.Index) bool { return over(x.Column) }) {
			return &encryption.KeyError{Op: "another row has it in", Table: a.def.Name, Column: c.Name, Err: fmt.Errorf("%w: %w", encryption.ErrExists, refused)}
		}
	}
	if !known {
		return a.cfg.Table.Exists(err)
	}
	return err
}

// catalogueTime is how long Exists waits for the catalogue: the caller may hold what it
// waits for.
const catalogueTime = 2 * time.Second

// uniqueOver says what the uniqueness that refused a row compares: columns, or
// expressions, but not what its predicate asks; nothing of one of another table. Known
// is false where nobody can say.
func (a *Adoption) uniqueOver(ctx context.Context, refused *sqldb.DriverError) (parts []string, known bool) {
	ctx, end := context.WithTimeout(ctx, catalogueTime)
	defer end()
	pool := a.cfg.DB.Stats()
	schema, table := a.parts()
	name := refused.Constraint
	if a.db.Kind == sqldb.SQLite {
		// As the database writes it, whatever the driver puts around it: there is no value in it.
		said := regexp.MustCompile(`UNIQUE constraint failed: (?:index '([^']+)'|((?:[\w$]+\.[\w$]+(?:, )?)+))(?: \(\d+\))?$`).FindStringSubmatch(errors.Unwrap(refused).Error())
		switch {
		case said == nil:
			return nil, false
		case said[1] == "":
			for at := range strings.SplitSeq(said[2], ", ") {
				of, column, _ := strings.Cut(at, ".")
				if !strings.EqualFold(of, table) {
					return nil, true // by a trigger
				}
				parts = append(parts, column)
			}
			return parts, true
		}
		name = said[1]
	}
	if name == "" || pool.MaxOpenConnections > 0 && pool.InUse >= pool.MaxOpenConnections {
		return nil, false
	}
	quoted, err := a.db.Quote(a.def.SQL)
	if err != nil {
		return nil, false
	}
	switch a.db.Kind {
	case sqldb.SQLite:
		master := "sqlite_master"
		if before, _, ok := strings.Cut(quoted, "."); ok {
			master = before + "." + master
		}
		made, err := a.texts(ctx, `SELECT sql FROM `+master+` WHERE type = 'index' AND name = ? AND lower(tbl_name) = lower(?)`, name, table)
		if len(made) > 0 {
			parts, _ = indexed(made[0])
		}
		return parts, err == nil
	case sqldb.Postgres:
		// That of a partition has a name of its own.
		parts, err = a.texts(ctx, `WITH RECURSIVE tree (oid) AS (SELECT to_regclass(?)::oid UNION SELECT i.inhrelid FROM pg_catalog.pg_inherits i JOIN tree ON i.inhparent = tree.oid)
			SELECT pg_get_indexdef(i.indexrelid, p.n, true) FROM pg_catalog.pg_index i JOIN tree ON i.indrelid = tree.oid JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
			CROSS JOIN LATERAL generate_series(1, CAST(i.indnkeyatts AS integer)) AS p(n) WHERE i.indisunique AND c.relname = ? ORDER BY p.n`, quoted, name)
		return parts, err == nil
	case sqldb.MariaDB, sqldb.MySQL:
	}
	parts, err = a.texts(ctx, `SELECT COALESCE(COLUMN_NAME, '') FROM information_schema.STATISTICS WHERE TABLE_SCHEMA = COALESCE(NULLIF(?, ''), DATABASE()) AND TABLE_NAME = ?
		AND NON_UNIQUE = 0 AND INDEX_NAME = ? ORDER BY SEQ_IN_INDEX`, schema, table, name)
	return parts, err == nil && !slices.Contains(parts, "") // an expression of MySQL
}
