package catalog

import "strings"

// stop parts the names in a list that PostgreSQL sends as one text.
const stop = "\x01"

// relations are the tables that hold rows: of partitions the one above, and no
// table of an extension. A part stands in pg_catalog under a name of its own.
const relations = ` FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace`

const ofThem = ` c.relkind IN ('r', 'p', 'm', 'f', 'v') AND NOT c.relispartition AND n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg\_%'
	AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')`

func (r *reader) postgres([]string) error {
	var schema, table, kind string
	var visible, hides, elsewhere bool
	err := r.each(`WITH RECURSIVE parts (whole, part) AS (
				SELECT h.inhparent, h.inhrelid FROM pg_catalog.pg_inherits h JOIN pg_catalog.pg_class p ON p.oid = h.inhparent AND p.relkind = 'p'
				UNION SELECT parts.whole, h.inhrelid FROM parts JOIN pg_catalog.pg_inherits h ON h.inhparent = parts.part)
			SELECT n.nspname, c.relname, pg_table_is_visible(c.oid), c.relkind::text, row_security_active(c.oid),
				EXISTS (SELECT 1 FROM parts JOIN pg_catalog.pg_class f ON f.oid = parts.part AND f.relkind = 'f' WHERE parts.whole = c.oid)`+relations+` WHERE`+ofThem, nil,
		[]any{&schema, &table, &visible, &kind, &hides, &elsewhere}, func() {
			if t := r.table(schema, table); t != nil {
				t.Default, t.Hides = visible, hides
				t.Form = map[string]Form{"r": Plain, "p": Plain, "m": Copy, "f": Elsewhere, "v": View}[kind]
				if elsewhere {
					t.Form = Elsewhere
				}
			}
		})
	if err != nil {
		return err
	}
	var column, base, typtype, group, labels, expression string
	var notNull, made, loose bool
	var size int64
	// The base type of a domain counts, three deep.
	err = r.each(`SELECT n.nspname, c.relname, a.attname::text, b.typname::text, b.typtype::text, b.typcategory::text,
			CASE WHEN b.typtype = 'e' THEN (SELECT string_agg(e.enumlabel, chr(1) ORDER BY e.enumsortorder) FROM pg_catalog.pg_enum e WHERE e.enumtypid = b.oid) ELSE '' END,
			CASE WHEN b.typname IN ('varchar', 'bpchar') THEN GREATEST(a.atttypmod, d.typtypmod, 4) - 4 ELSE 0 END,
			a.attnotnull OR d.typnotnull, a.attgenerated <> '' OR a.attidentity = 'a',
			CASE WHEN a.attgenerated <> '' THEN COALESCE((SELECT pg_get_expr(g.adbin, g.adrelid) FROM pg_catalog.pg_attrdef g WHERE g.adrelid = a.attrelid AND g.adnum = a.attnum), '') ELSE '' END,
			b.typname IN ('citext', 'bpchar') OR COALESCE(NOT k.collisdeterministic, false)`+relations+`
			JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
			JOIN pg_catalog.pg_type d ON d.oid = a.atttypid
			LEFT JOIN pg_catalog.pg_type e ON e.oid = d.typbasetype
			LEFT JOIN pg_catalog.pg_type f ON f.oid = e.typbasetype
			JOIN pg_catalog.pg_type b ON b.oid = COALESCE(f.oid, e.oid, d.oid)
			LEFT JOIN pg_catalog.pg_collation k ON k.oid = a.attcollation
			WHERE c.relkind IN ('r', 'p', 'm', 'f', 'v') AND NOT c.relispartition AND n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg\_%'
			ORDER BY c.oid, a.attnum`, nil,
		[]any{&schema, &table, &column, &base, &typtype, &group, &labels, &size, &notNull, &made, &expression, &loose}, func() {
			t := r.byID[r.id(schema, table)]
			if t == nil {
				return
			}
			c := Column{Name: column, Type: base, Class: postgresClass(base, typtype, group), Size: size, NotNull: notNull, Generated: made, Made: expression, Loose: loose}
			if labels != "" {
				c.Labels = strings.Split(labels, stop)
			}
			t.Columns = append(t.Columns, c)
		})
	if err != nil {
		return err
	}
	for _, more := range []func() error{r.postgresIndexes, r.postgresForeign, r.postgresChecks, r.postgresTriggers, r.postgresHeirs} {
		if err := more(); err != nil {
			return err
		}
	}
	return nil
}

// postgresClass: the groups are pg_type.typcategory.
func postgresClass(base, typtype, group string) Class {
	switch {
	case typtype == "e":
		return Enum
	case strings.Contains("ARCG", group): // arrays, ranges, rows, shapes
		return Compound
	}
	classes := map[string]Class{
		"text": Text, "varchar": Text, "name": Text, "bpchar": Text, "citext": Text,
		"int2": Integer, "int4": Integer, "int8": Integer, "numeric": Number, "float4": Number, "float8": Number, "money": Number,
		"bool": Bool, "date": Date, "timestamp": Instant, "timestamptz": Instant, "uuid": UUID, "bytea": Bytes, "json": JSON, "jsonb": JSON,
		"hstore": Compound, "xml": Compound, "tsvector": Compound, "tsquery": Compound, "oid": Large,
	}
	if c, ok := classes[base]; ok {
		return c
	}
	return Other
}

func (r *reader) postgresIndexes() error {
	var schema, table, name, columns, bytewise, expressions string
	var unique, primary, partial, nulls bool
	return r.each(`SELECT n.nspname, c.relname, x.relname, i.indisunique, i.indisprimary, i.indpred IS NOT NULL,
			COALESCE((to_jsonb(i)->>'indnullsnotdistinct')::boolean, false),
			(SELECT string_agg(COALESCE(a.attname, ''), chr(1) ORDER BY k.at) FROM unnest(i.indkey::int2[]) WITH ORDINALITY k (num, at)
				LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.num AND k.num > 0 WHERE k.at <= i.indnkeyatts),
			COALESCE((SELECT string_agg(pg_get_indexdef(i.indexrelid, k.at::int, false), chr(1)) FROM unnest(i.indkey::int2[]) WITH ORDINALITY k (num, at)
				WHERE k.num = 0 AND i.indcollation[k.at - 1] = 'pg_catalog."C"'::regcollation), ''),
			COALESCE((SELECT string_agg(pg_get_indexdef(i.indexrelid, k.at::int, false), chr(1)) FROM unnest(i.indkey::int2[]) WITH ORDINALITY k (num, at)
				WHERE k.num = 0 AND k.at <= i.indnkeyatts), '')`+relations+`
			JOIN pg_catalog.pg_index i ON i.indrelid = c.oid AND i.indisvalid
			JOIN pg_catalog.pg_class x ON x.oid = i.indexrelid WHERE`+ofThem+` ORDER BY c.oid, x.oid`, nil,
		[]any{&schema, &table, &name, &unique, &primary, &partial, &nulls, &columns, &bytewise, &expressions}, func() {
			if t := r.byID[r.id(schema, table)]; t != nil {
				t.Indexes = append(t.Indexes, Index{Name: name, Columns: strings.Split(columns, stop), Unique: unique, Primary: primary, Partial: partial, NullsEqual: nulls, Bytewise: strings.Split(bytewise, stop), Expressions: strings.Split(expressions, stop)})
			}
		})
}

// postgresForeign: a partition, and a table that inherits, may have foreign keys
// of its own, and is referred to; its rows are rows of the tables above it, too.
// ON DELETE SET NULL may name columns since version 15, and older ones have no
// confdelsetcols: as JSON both can be asked.
func (r *reader) postgresForeign() error {
	names := func(rel, numbers string) string {
		return `(SELECT string_agg(a.attname, chr(1) ORDER BY u.at) FROM unnest(` + numbers + `) WITH ORDINALITY u (num, at) JOIN pg_catalog.pg_attribute a ON a.attrelid = ` + rel + ` AND a.attnum = u.num)`
	}
	var childSchema, child, parentSchema, parent, name, columns, to, rule, empties string
	var late bool
	seen := map[string]bool{}
	return r.each(`WITH RECURSIVE above (rel, name) AS (
				SELECT oid, oid FROM pg_catalog.pg_class WHERE relkind IN ('r', 'p')
				UNION SELECT above.rel, h.inhparent FROM above JOIN pg_catalog.pg_inherits h ON h.inhrelid = above.name),
			k AS (SELECT k.conname, k.conrelid, k.confrelid, k.condeferred,
				CASE k.confdeltype WHEN 'c' THEN 'CASCADE' WHEN 'n' THEN 'SET NULL' WHEN 'd' THEN 'SET DEFAULT' ELSE 'NO ACTION' END AS rule,
				`+names("k.conrelid", "k.conkey")+` AS columns, `+names("k.confrelid", "k.confkey")+` AS to_columns,
				CASE WHEN k.confdeltype IN ('n', 'd') THEN COALESCE((SELECT string_agg(a.attname, chr(1)) FROM pg_catalog.pg_attribute a WHERE a.attrelid = k.conrelid AND to_jsonb(k)->'confdelsetcols' @> to_jsonb(a.attnum)), '') ELSE '' END AS empties
				FROM pg_catalog.pg_constraint k WHERE k.contype = 'f')
			SELECT cn.nspname, c.relname, pn.nspname, p.relname, k.conname, k.columns, k.to_columns, k.rule, k.empties, k.condeferred
			FROM k JOIN above ca ON ca.rel = k.conrelid JOIN above pa ON pa.rel = k.confrelid
			JOIN pg_catalog.pg_class c ON c.oid = ca.name JOIN pg_catalog.pg_namespace cn ON cn.oid = c.relnamespace
			JOIN pg_catalog.pg_class p ON p.oid = pa.name JOIN pg_catalog.pg_namespace pn ON pn.oid = p.relnamespace
			ORDER BY 1, 2, 5, 3, 4`, nil,
		[]any{&childSchema, &child, &parentSchema, &parent, &name, &columns, &to, &rule, &empties, &late}, func() {
			from, into := r.byID[r.id(childSchema, child)], r.byID[r.id(parentSchema, parent)]
			id := strings.Join([]string{childSchema, child, parentSchema, parent, columns, to, rule, empties}, "\x00")
			if from == nil || into == nil || seen[id] {
				return // a partition, which the one above stands for
			}
			seen[id] = true
			key := ForeignKey{Name: name, Child: from, Parent: into, Columns: strings.Split(columns, stop), To: strings.Split(to, stop), OnDelete: ruleOf(rule), Deferred: late}
			switch {
			case empties != "":
				key.Empties = strings.Split(empties, stop)
			case key.OnDelete == SetNull || key.OnDelete == SetDefault:
				key.Empties = key.Columns
			}
			r.Foreign = append(r.Foreign, key)
		})
}

func (r *reader) postgresChecks() error {
	var schema, table, name, text string
	return r.each(`SELECT n.nspname, c.relname, k.conname, pg_get_expr(k.conbin, k.conrelid)`+relations+`
			JOIN pg_catalog.pg_constraint k ON k.conrelid = c.oid AND k.contype = 'c' WHERE`+ofThem+` ORDER BY c.oid, k.conname`, nil,
		[]any{&schema, &table, &name, &text}, func() {
			if t := r.byID[r.id(schema, table)]; t != nil {
				t.Checks = append(t.Checks, Check{name, text})
			}
		})
}

// postgresTriggers: those of constraints are the database's own. A rule of a
// table does the like.
func (r *reader) postgresTriggers() error {
	var schema, table, name string
	return r.each(`SELECT n.nspname, c.relname, g.tgname::text`+relations+`
			JOIN pg_catalog.pg_trigger g ON g.tgrelid = c.oid AND NOT g.tgisinternal AND g.tgenabled <> 'D' AND g.tgtype & 24 <> 0 WHERE`+ofThem+`
			UNION ALL SELECT n.nspname, c.relname, u.rulename::text`+relations+`
			JOIN pg_catalog.pg_rewrite u ON u.ev_class = c.oid AND u.ev_type IN ('2', '4') AND c.relkind IN ('r', 'p') WHERE`+ofThem+` ORDER BY 1, 2, 3`, nil,
		[]any{&schema, &table, &name}, func() {
			if t := r.byID[r.id(schema, table)]; t != nil {
				t.Triggers = append(t.Triggers, name)
			}
		})
}

// postgresHeirs: what INHERITS from a table is found in it, too.
func (r *reader) postgresHeirs() error {
	var schema, table, aboveSchema, above string
	return r.each(`SELECT n.nspname, c.relname, an.nspname, a.relname`+relations+`
			JOIN pg_catalog.pg_inherits h ON h.inhrelid = c.oid JOIN pg_catalog.pg_class a ON a.oid = h.inhparent
			JOIN pg_catalog.pg_namespace an ON an.oid = a.relnamespace WHERE`+ofThem+` ORDER BY 1, 2, 3, 4`, nil,
		[]any{&schema, &table, &aboveSchema, &above}, func() {
			if t, of := r.byID[r.id(schema, table)], r.byID[r.id(aboveSchema, above)]; t != nil && of != nil {
				t.Above = append(t.Above, of)
			}
		})
}
