package adoption

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/internal/sqldb"
)

// Guard is what the trigger on the table does about writers that know nothing of
// the sealed columns: the release before the adoption, a script, a console.
type Guard string

// The guards.
const (
	NoGuard Guard = "none" // there is no trigger
	// Reset takes the sealed value and its indexes away where the column in the
	// clear changes, or the owner of the row does, and the sealed value does not:
	// what was sealed before is of yesterday. Readers fall back to the clear,
	// Backfill seals anew. A row that is sealed only is left alone: there is nothing
	// to fall back to. It belongs to Plain, WriteBoth and ReadSealed.
	Reset Guard = "reset"
	// Refuse lets no value into the column in the clear. It belongs to SealedOnly.
	Refuse Guard = "refuse"
	// OtherGuard is a trigger of this name with another text: of another
	// definition, switched off, or changed by hand.
	OtherGuard Guard = "other"
	// HiddenGuard is a trigger of this name whose text this account may not read: on
	// MariaDB and MySQL that wants the right TRIGGER. It counts for none.
	HiddenGuard Guard = "hidden"
	// OutrunGuard is Reset or Refuse, and triggers of the application run behind it
	// that may change what it has seen: on PostgreSQL those with a later name, on
	// MariaDB and MySQL those that were made later. [Adoption.Obstacles] names them.
	OutrunGuard Guard = "outrun"
)

// guardName names trigger and function. Triggers of PostgreSQL run in the order
// of their names, and this one has to see what those of the application made of a
// row. The digits keep tables of one name in two schemas apart, and two adoptions
// of columns of one table, of which each has a guard of its own.
func (a *Adoption) guardName() string {
	sum := sha256.Sum256([]byte(a.def.SQL + "\x00" + a.def.Name))
	return ours + hex.EncodeToString(sum[:4])
}

// GuardSQL returns the statements that put a guard onto the table in the place of
// any other one of ours, or with NoGuard take it away. Whoever owns the table
// executes them, one by one, in this order. On PostgreSQL they belong into one
// transaction; on MariaDB and MySQL there is a moment without a guard between two
// of them. A MySQL that writes a binary log asks for
// log_bin_trust_function_creators, or SUPER.
//
// It refuses Refuse while a tenant is below a settled SealedOnly, since its
// processes write in the clear, and while rows of a tenant stand in the clear whose
// stage nobody has ever asked for: they would be forgotten. A trigger over a column
// that the table does not have would stop whoever writes to it: that is a
// [*ColumnError]. NoGuard is never refused.
func (a *Adoption) GuardSQL(ctx context.Context, guard Guard) ([]string, error) {
	if guard != NoGuard {
		if err := a.guardable(ctx); err != nil {
			return nil, err
		}
	}
	return a.guardSQL(ctx, guard)
}

func (a *Adoption) guardSQL(ctx context.Context, guard Guard) ([]string, error) {
	rows, err := stages(ctx, a.db, a.def.Name)
	if err != nil {
		return nil, err
	}
	for _, r := range rows {
		if guard == Refuse && (r.stage != SealedOnly || !r.settled) {
			return nil, fmt.Errorf("%w: tenant %q is at %s, where values are written in the clear: all tenants of the table have to be settled at %s before a trigger refuses them", ErrStage, r.tenant, r.stage, SealedOnly)
		}
	}
	if guard == Refuse {
		if err := a.noneForgotten(ctx, rows); err != nil {
			return nil, err
		}
	}
	switch guard {
	case NoGuard:
		return a.dropGuard()
	case Reset, Refuse:
		drop, err := a.dropGuard()
		if err != nil {
			return nil, err
		}
		create, err := a.createGuard(guard)
		return append(drop, create...), err
	case OtherGuard, HiddenGuard, OutrunGuard:
	}
	return nil, fmt.Errorf("%w: there is no guard %q", ErrDefinition, string(guard))
}

func (a *Adoption) dropGuard() ([]string, error) {
	table, err := a.db.Quote(a.def.SQL)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDefinition, err)
	}
	schema := ""
	if before, _, ok := strings.Cut(table, "."); ok {
		schema = before + "."
	}
	if a.db.Kind == sqldb.Postgres {
		return []string{
			`DROP TRIGGER IF EXISTS ` + a.guardName() + ` ON ` + table,
			`DROP FUNCTION IF EXISTS ` + schema + a.guardName() + `()`,
		}, nil
	}
	out := []string{`DROP TRIGGER IF EXISTS ` + schema + a.guardName()}
	if a.db.Kind == sqldb.SQLite {
		for i := range a.order {
			for _, event := range []string{"i", "u"} {
				out = append(out, fmt.Sprintf(`DROP TRIGGER IF EXISTS %s%s_%d%s`, schema, a.guardName(), i, event))
			}
		}
		return out[1:], nil
	}
	return append(out, `DROP TRIGGER IF EXISTS `+schema+a.guardName()+`_i`), nil
}

// trigger is one trigger, as it is created and as the catalogue shows it.
type trigger struct {
	name, create, body string
}

func (a *Adoption) createGuard(guard Guard) ([]string, error) {
	triggers, err := a.triggers(guard)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, t := range triggers {
		out = append(out, strings.Split(t.create, statementEnd)...)
	}
	return out, nil
}

// statementEnd parts the statements of one trigger.
const statementEnd = ";\n\n"

func (a *Adoption) triggers(guard Guard) ([]trigger, error) {
	g := guardText{a: a, guard: guard}
	var err error
	if g.table, err = a.db.Quote(a.def.SQL); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDefinition, err)
	}
	if before, _, ok := strings.Cut(g.table, "."); ok {
		g.schema = before + "."
	}
	switch a.db.Kind {
	case sqldb.Postgres:
		return g.postgres(), nil
	case sqldb.SQLite:
		return g.sqlite(), nil
	case sqldb.MariaDB, sqldb.MySQL:
	}
	return g.mysql(), nil
}

// guardText writes the triggers of one database.
type guardText struct {
	a      *Adoption
	guard  Guard
	table  string // quoted
	schema string // quoted, with the point, or ""
}

func (g guardText) quote(name string) string {
	quoted, err := g.a.db.Quote(name)
	if err != nil {
		return name // names were checked when they were declared
	}
	return quoted
}

// differs is that a column is not what it was, byte for byte: what a collation
// takes for equal is another value.
func (g guardText) differs(name string) string {
	c := g.quote(name)
	switch g.a.db.Kind {
	case sqldb.Postgres:
		return `CAST(NEW.` + c + ` AS text) COLLATE "C" IS DISTINCT FROM CAST(OLD.` + c + ` AS text) COLLATE "C"`
	case sqldb.SQLite:
		return `CAST(NEW.` + c + ` AS BLOB) IS NOT CAST(OLD.` + c + ` AS BLOB)`
	case sqldb.MariaDB, sqldb.MySQL:
	}
	return `NOT (CAST(CONCAT(NEW.` + c + `) AS BINARY) <=> CAST(CONCAT(OLD.` + c + `) AS BINARY))`
}

// outdated is that what the sealed value says of the row is not true any more: its
// value, or what the seal binds it to. Where nothing stood in the clear and nothing
// does, the sealed value is the only one there is.
func (g guardText) outdated(c column) string {
	parts := []string{g.differs(c.Plain)}
	bound := []string{g.a.def.Tenant}
	if c.sealed.Level != encryption.LevelTenant && !g.a.def.Shared {
		bound = append(bound, g.a.def.Owner)
	}
	if c.sealed.Level == levelRow {
		bound = append(bound, strings.Split(g.a.def.Key, ",")...)
	}
	for _, name := range bound {
		if name = strings.TrimSpace(name); name != "" {
			parts = append(parts, g.differs(name))
		}
	}
	plain := g.quote(c.Plain)
	return "(NEW." + plain + " IS NOT NULL OR OLD." + plain + " IS NOT NULL) AND (" + strings.Join(parts, " OR ") + ")"
}

func (g guardText) resets(c column, prefix, is string) string {
	set := []string{prefix + g.quote(c.sealed.SQL) + is + "NULL"}
	for _, x := range c.indexes {
		set = append(set, prefix+g.quote(x.Column)+is+"NULL")
	}
	sep := ", "
	if is == " := " {
		sep = "; "
	}
	return strings.Join(set, sep)
}

// said is what a writer is told whom the guard refuses.
func (g guardText) said(c column) string {
	return "crmguard: " + c.Plain + " is sealed: nothing is written to it in the clear"
}

func (g guardText) postgres() []trigger {
	var body strings.Builder
	body.WriteString("\nBEGIN\n")
	_ = g.a.each(func(c column) error {
		if g.guard == Refuse {
			fmt.Fprintf(&body, "  IF NEW.%s IS NOT NULL AND (CASE WHEN TG_OP = 'INSERT' THEN true ELSE %s END) THEN RAISE EXCEPTION '%s' USING ERRCODE = 'check_violation'; END IF;\n", g.quote(c.Plain), g.differs(c.Plain), g.said(c))
			return nil
		}
		sealed := g.quote(c.sealed.SQL)
		fmt.Fprintf(&body, "  IF NEW.%s IS NOT NULL AND NEW.%s IS NOT DISTINCT FROM OLD.%s AND %s THEN %s; END IF;\n", sealed, sealed, sealed, g.outdated(c), g.resets(c, "NEW.", " := "))
		return nil
	})
	body.WriteString("  RETURN NEW;\nEND\n")
	name, events := g.a.guardName(), "UPDATE"
	if g.guard == Refuse {
		events = "INSERT OR UPDATE"
	}
	return []trigger{{
		name: name, body: body.String(),
		create: `CREATE FUNCTION ` + g.schema + name + `() RETURNS trigger LANGUAGE plpgsql AS $crmguard$` + body.String() + `$crmguard$` + statementEnd +
			`CREATE TRIGGER ` + name + ` BEFORE ` + events + ` ON ` + g.table + ` FOR EACH ROW EXECUTE FUNCTION ` + g.schema + name + `()` + statementEnd +
			`ALTER TABLE ` + g.table + ` ENABLE ALWAYS TRIGGER ` + name, // also where rows are applied that another server has sent
	}}
}

func (g guardText) mysql() []trigger {
	body := func(insert bool) string {
		var text strings.Builder
		text.WriteString("BEGIN\n")
		_ = g.a.each(func(c column) error {
			sealed := g.quote(c.sealed.SQL)
			switch {
			case g.guard == Reset:
				fmt.Fprintf(&text, "  IF NEW.%s IS NOT NULL AND NEW.%s <=> OLD.%s AND %s THEN SET %s; END IF;\n", sealed, sealed, sealed, g.outdated(c), g.resets(c, "NEW.", " = "))
			case insert:
				fmt.Fprintf(&text, "  IF NEW.%s IS NOT NULL THEN SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = '%s'; END IF;\n", g.quote(c.Plain), g.said(c))
			default:
				fmt.Fprintf(&text, "  IF NEW.%s IS NOT NULL AND %s THEN SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = '%s'; END IF;\n", g.quote(c.Plain), g.differs(c.Plain), g.said(c))
			}
			return nil
		})
		text.WriteString("END")
		return text.String()
	}
	make := func(name, event, body string) trigger {
		return trigger{name: name, body: body, create: `CREATE TRIGGER ` + g.schema + name + ` BEFORE ` + event + ` ON ` + g.table + ` FOR EACH ROW ` + body}
	}
	out := []trigger{make(g.a.guardName(), "UPDATE", body(false))}
	if g.guard == Refuse {
		out = append(out, make(g.a.guardName()+"_i", "INSERT", body(true)))
	}
	return out
}

// sqlite: a trigger there cannot change the row that is written, so another
// statement follows it.
func (g guardText) sqlite() (out []trigger) {
	bare := g.table[strings.LastIndex(g.table, ".")+1:]
	make := func(i int, event, text string) {
		name := fmt.Sprintf("%s_%d%s", g.a.guardName(), i, event)
		body := name + text
		out = append(out, trigger{name: name, body: "CREATE TRIGGER " + body, create: "CREATE TRIGGER " + g.schema + body})
	}
	for i, name := range g.a.order {
		c := g.a.columns[name]
		plain, sealed := g.quote(c.Plain), g.quote(c.sealed.SQL)
		if g.guard == Refuse {
			raise := ` BEGIN SELECT RAISE(ABORT, '` + g.said(c) + `'); END`
			make(i, "u", ` BEFORE UPDATE ON `+bare+` FOR EACH ROW WHEN NEW.`+plain+` IS NOT NULL AND `+g.differs(c.Plain)+raise)
			make(i, "i", ` BEFORE INSERT ON `+bare+` FOR EACH ROW WHEN NEW.`+plain+` IS NOT NULL`+raise)
			continue
		}
		var key []string
		for k := range strings.SplitSeq(g.a.def.Key, ",") {
			k = g.quote(strings.TrimSpace(k))
			key = append(key, k+` IS NEW.`+k)
		}
		if g.a.def.Tenant != "" {
			key = append(key, g.quote(g.a.def.Tenant)+` IS NEW.`+g.quote(g.a.def.Tenant))
		}
		make(i, "u", ` AFTER UPDATE ON `+bare+` FOR EACH ROW WHEN NEW.`+sealed+` IS NOT NULL AND NEW.`+sealed+` IS OLD.`+sealed+` AND `+g.outdated(c)+
			` BEGIN UPDATE `+bare+` SET `+g.resets(c, "", " = ")+` WHERE `+strings.Join(key, " AND ")+`; END`)
	}
	return out
}

// Guard asks the database which guard stands on the table: its text is compared,
// whether it is always switched on, and whether others run behind it.
func (a *Adoption) Guard(ctx context.Context) (Guard, error) {
	guard, err := a.standing(ctx)
	if err != nil || guard != Reset && guard != Refuse {
		return guard, err
	}
	names, err := a.behind(ctx, guard)
	if err == nil && len(names) > 0 {
		guard = OutrunGuard
	}
	return guard, err
}

// standing is the guard that stands on the table, whoever runs behind it.
func (a *Adoption) standing(ctx context.Context) (Guard, error) {
	found, err := a.foundTriggers(ctx)
	if err != nil {
		return NoGuard, fmt.Errorf("adoption: guard of %s: %w", a.def.Name, sqldb.Safe(err))
	}
	if len(found) == 0 {
		return NoGuard, nil
	}
	for _, text := range found {
		if text == hiddenText {
			return HiddenGuard, nil
		}
	}
	for _, guard := range []Guard{Reset, Refuse} {
		want, err := a.triggers(guard)
		if err != nil {
			return NoGuard, err
		}
		same := len(want) == len(found)
		for _, t := range want {
			same = same && found[t.name] == t.body
		}
		if same {
			return guard, nil
		}
	}
	return OtherGuard, nil
}

// hiddenText stands for a text that the account may not read.
const hiddenText = "\x00"

// foundTriggers are those of our names, by name; one that is switched off, or
// runs at another moment, has no text.
func (a *Adoption) foundTriggers(ctx context.Context) (map[string]string, error) {
	table, err := a.db.Quote(a.def.SQL)
	if err != nil {
		return nil, err
	}
	schema, bare := "", a.def.SQL
	if before, after, ok := strings.Cut(a.def.SQL, "."); ok {
		schema, bare = before, after
	}
	like := a.guardName() + "%"
	query, args := `SELECT TRIGGER_NAME, CASE WHEN ACTION_TIMING = 'BEFORE' THEN ACTION_STATEMENT ELSE '' END FROM information_schema.TRIGGERS
		WHERE EVENT_OBJECT_SCHEMA = COALESCE(NULLIF(?, ''), DATABASE()) AND EVENT_OBJECT_TABLE = ? AND TRIGGER_NAME LIKE ?`, []any{schema, bare, like}
	switch a.db.Kind {
	case sqldb.Postgres:
		// tgtype: 1 for each row, 2 before, 4 insert, 16 update. One that is switched on
		// only where a row is written first ('O') is not, where it is applied; partitions
		// have copies.
		query, args = `SELECT t.tgname, CASE WHEN t.tgenabled = 'A' AND t.tgtype IN (19, 23) AND t.tgqual IS NULL AND t.tgattr = ''
				AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_trigger c WHERE c.tgparentid = t.oid AND c.tgenabled <> 'A') THEN p.prosrc ELSE '' END
			FROM pg_catalog.pg_trigger t JOIN pg_catalog.pg_proc p ON p.oid = t.tgfoid WHERE t.tgrelid = to_regclass(?) AND NOT t.tgisinternal AND t.tgname LIKE ?`, []any{table, like}
	case sqldb.SQLite:
		master := "sqlite_master"
		if schema != "" {
			master = strings.TrimSuffix(table, table[strings.LastIndex(table, ".")+1:]) + master
		}
		query, args = `SELECT name, sql FROM `+master+` WHERE type = 'trigger' AND name LIKE ?`, []any{like}
	case sqldb.MariaDB, sqldb.MySQL:
	}
	found := map[string]string{}
	err = a.db.Read(ctx, func(q sqldb.Querier) error {
		clear(found)
		return sqldb.Each(ctx, q, func(rows *sql.Rows) error {
			var name string
			var text sql.NullString
			if err := rows.Scan(&name, &text); err != nil {
				return err
			}
			if found[name] = text.String; !text.Valid {
				found[name] = hiddenText
			}
			return nil
		}, a.db.Bind(query), args...)
	})
	return found, err
}
