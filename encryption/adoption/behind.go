package adoption

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/internal/sqldb"
)

// The guard sees a row as the triggers before it have made it. What changes the row
// behind it, or past all triggers, it does not see.

// watched are the columns whose change the guard is there for: those in the clear, and
// what their sealed values are bound to.
func (a *Adoption) watched() (out []string) {
	if a.def.Tenant != "" {
		out = append(out, a.def.Tenant)
	}
	for _, name := range a.order {
		c := a.columns[name]
		out = append(out, c.Plain)
		if c.sealed.Level != encryption.LevelTenant && !a.def.Shared && a.def.Owner != "" {
			out = append(out, a.def.Owner)
		}
		if c.sealed.Level == levelRow {
			for key := range strings.SplitSeq(a.def.Key, ",") {
				out = append(out, strings.TrimSpace(key))
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// ours begins the name of each guard.
const ours = "zz_crmguard_guard_"

// behind names the triggers that run after the guard and may change what it has
// seen: on PostgreSQL those with a later name, whose functions may do anything, on
// MariaDB and MySQL those that were made later and name such a column. On SQLite no
// trigger changes the row that is written.
func (a *Adoption) behind(ctx context.Context, guard Guard) (names []string, err error) {
	events := "UPDATE"
	if guard == Refuse {
		events = "INSERT UPDATE"
	}
	switch a.db.Kind {
	case sqldb.SQLite:
		return nil, nil
	case sqldb.Postgres:
		all, err := a.runningBehind(ctx, guard)
		for _, one := range all {
			names = append(names, one.name)
		}
		return slices.Compact(names), err
	case sqldb.MariaDB, sqldb.MySQL:
	}
	columns := a.watched()
	for i, c := range columns {
		columns[i] = regexp.QuoteMeta(c)
	}
	changes := regexp.MustCompile("(?i)\\bnew\\s*\\.\\s*[`\"]?(" + strings.Join(columns, "|") + ")([^\\w$]|$)")
	schema, table := a.parts()
	seen := map[string]bool{} // of which event the guard has run
	err = a.rows(ctx, func(scan func(...any) error) error {
		var name, event, body string
		if err := scan(&name, &event, &body); err != nil {
			return err
		}
		switch {
		case strings.HasPrefix(name, a.guardName()):
			seen[event] = true
		case !strings.HasPrefix(name, ours) && seen[event] && strings.Contains(events, event) && changes.MatchString(body):
			names = append(names, name)
		}
		return nil
	}, `SELECT TRIGGER_NAME, EVENT_MANIPULATION, COALESCE(ACTION_STATEMENT, '') FROM information_schema.TRIGGERS
		WHERE EVENT_OBJECT_SCHEMA = COALESCE(NULLIF(?, ''), DATABASE()) AND EVENT_OBJECT_TABLE = ? AND ACTION_TIMING = 'BEFORE' ORDER BY EVENT_MANIPULATION, ACTION_ORDER`, schema, table)
	return names, err
}

// running is a trigger of PostgreSQL, of the table or of one of its partitions.
type running struct{ name, quoted, table string }

// runningBehind lists the triggers that run behind the guard. What a partition has from
// its table is renamed with that one, but by servers before 15, which leave it.
func (a *Adoption) runningBehind(ctx context.Context, guard Guard) (out []running, err error) {
	bits := 16
	if guard == Refuse {
		bits |= 4
	}
	table, err := a.db.Quote(a.def.SQL)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDefinition, err)
	}
	err = a.rows(ctx, func(scan func(...any) error) error {
		var one running
		err := scan(&one.name, &one.quoted, &one.table)
		out = append(out, one)
		return err
	}, `WITH RECURSIVE tree (oid) AS (SELECT to_regclass(?)::oid UNION SELECT i.inhrelid FROM pg_catalog.pg_inherits i JOIN tree ON i.inhparent = tree.oid)
		SELECT CAST(t.tgname AS text), quote_ident(t.tgname), CASE WHEN t.tgrelid = to_regclass(?) THEN CAST(? AS text) ELSE format('%I.%I', n.nspname, c.relname) END
		FROM pg_catalog.pg_trigger t JOIN tree ON t.tgrelid = tree.oid JOIN pg_catalog.pg_class c ON c.oid = t.tgrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
		WHERE NOT t.tgisinternal AND t.tgenabled <> 'D' AND t.tgtype & 3 = 3 AND t.tgtype & `+fmt.Sprint(bits)+` <> 0
			AND (COALESCE(to_jsonb(t) ->> 'tgparentid', '0') = '0' OR CAST(current_setting('server_version_num') AS integer) < 150000)
			AND CAST(t.tgname AS text) COLLATE "C" > ? AND NOT starts_with(CAST(t.tgname AS text), '`+ours+`') ORDER BY 1, 3`, table, table, table, a.guardName())
	return out, err
}

// outrun: the guard is of no use where others change the row behind it. Before it
// stands there are none on MariaDB: the guard will be the last that is made.
func (m *moving) outrun(ctx context.Context) ([]Obstacle, error) {
	names, err := m.behind(ctx, Reset)
	if err != nil || len(names) == 0 {
		return nil, err
	}
	o := Obstacle{Why: fmt.Sprintf("the triggers %s run behind the guard, and may change what it has seen: let them run before it", strings.Join(names, ", "))}
	if m.db.Kind == sqldb.Postgres {
		all, err := m.runningBehind(ctx, Reset)
		if err != nil {
			return nil, err
		}
		for _, one := range all {
			first, err := m.db.QuoteName(("a_" + one.name)[:min(len(one.name)+2, 63)])
			if err != nil {
				return nil, fmt.Errorf("%w: %w", ErrDefinition, err)
			}
			o.SQL = append(o.SQL, `ALTER TRIGGER `+one.quoted+` ON `+one.table+` RENAME TO `+first)
		}
		return []Obstacle{o}, nil
	}
	o.SQL, err = m.GuardSQL(ctx, Reset) // made anew it is the last one
	return []Obstacle{o}, err
}

// cascades: MariaDB and MySQL change a row by a foreign key without any trigger, and
// then the sealed value is of another owner, or of yesterday.
func (m *moving) cascades(ctx context.Context) (out []Obstacle, err error) {
	if m.options.IgnoreCascades || m.db.Kind != sqldb.MariaDB && m.db.Kind != sqldb.MySQL {
		return nil, nil
	}
	bound := m.watched()
	all, err := m.shown(ctx, sqldb.ForeignKeyPart)
	if err != nil {
		return nil, err
	}
	changing := regexp.MustCompile(` ON (DELETE SET (NULL|DEFAULT)|UPDATE (CASCADE|SET NULL|SET DEFAULT))`)
	for _, one := range all {
		i := slices.IndexFunc(bound, func(b string) bool { return wordIn(one.In, b) })
		if i < 0 || !changing.MatchString(one.Rest) {
			continue
		}
		name := one.Name
		quoted, err := m.db.QuoteName(name)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrDefinition, err)
		}
		alter := `ALTER TABLE ` + m.sql
		drop := alter + ` DROP FOREIGN KEY ` + quoted
		out = append(out, Obstacle{
			Option:   "IgnoreCascades",
			Why:      fmt.Sprintf("the foreign key %s changes %s by a cascade, which no trigger sees: a sealed value stays that of another owner, or of yesterday; let it refuse instead, and change both in the application", name, bound[i]),
			SQL:      []string{drop, alter + ` ADD ` + strings.TrimSuffix(one.Text, one.Rest) + changing.ReplaceAllString(one.Rest, "")},
			restores: []restoring{{Of: "FOREIGN KEY " + name, SQL: []string{drop, alter + ` ADD ` + one.Text}}},
		})
	}
	return out, nil
}
