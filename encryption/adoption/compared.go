package adoption

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/crmguard/crmguard/internal/sqldb"
)

// What a uniqueness compares decides what may take its place. An index over the wide
// column tells values apart by their normaliser, of one tenant, and says no more than
// that two are equal: what compares a part of the value, or all tenants, or does
// something else than to refuse, is kept by none.

// comparesWhole says whether a part of a uniqueness compares a column as it stands there, but
// for case, blanks around it and what stands for NULL; folds, that case is no
// difference to it.
func (a *Adoption) comparesWhole(part, column string) (whole, folds bool) {
	trailing := regexp.MustCompile(`(?is)^(.+?)(?:\s+COLLATE\s+((?:"[^"]+"|\w+)(?:\.(?:"[^"]+"|\w+))?)|::(text|citext|character varying|varchar)|\s+\w+_ops(?:\s*\([^()]*\))?)$`)
	called := regexp.MustCompile(`(?is)^(lower|upper|casefold|trim|btrim|ltrim|rtrim|md5|coalesce|ifnull|nullif)\s*\(`)
	cast := regexp.MustCompile(`(?is)^cast\s*\((.+)\s+AS\s+(text|citext)\s*\)$`)
	for {
		part = strings.TrimSpace(part)
		if part == "" {
			return false, false
		}
		if part[0] == '(' && closing(part, 0) == len(part)-1 {
			part = part[1 : len(part)-1]
			continue
		}
		if match := trailing.FindStringSubmatch(part); match != nil {
			collation := strings.ToLower(match[2])
			folds = folds || strings.EqualFold(match[3], "citext") || strings.Contains(collation, "nocase") || strings.HasSuffix(strings.Trim(collation, `"`), "_ci")
			part = match[1]
			continue
		}
		if match := cast.FindStringSubmatch(part); match != nil && closing(part, strings.IndexByte(part, '(')) == len(part)-1 {
			folds = folds || strings.EqualFold(match[2], "citext")
			part = match[1]
			continue
		}
		match := called.FindStringSubmatch(part)
		if match == nil || closing(part, len(match[0])-1) != len(part)-1 {
			return a.isName(part, column), folds
		}
		of, _ := indexed(part)
		switch strings.ToLower(match[1]) {
		case "coalesce", "ifnull", "nullif":
			if slices.ContainsFunc(of[1:], func(other string) bool { return !literal(other) }) {
				return false, false
			}
		case "lower", "upper", "casefold":
			folds = true
			fallthrough
		default:
			if len(of) != 1 { // which characters are taken away
				return false, false
			}
		}
		part = regexp.MustCompile(`(?is)^(?:BOTH|LEADING|TRAILING)\s+FROM\s+`).ReplaceAllString(of[0], "")
	}
}

// literal says whether a text of SQL is a value that is written down there.
func literal(text string) bool {
	return regexp.MustCompile(`(?is)^\s*\(?(?:(?:[a-z_]\w*)?'(?:[^']|'')*'|NULL|-?\d+)\)?(?:::[a-z ]+)?\s*$`).MatchString(text)
}

// isName says whether a text of SQL is the name of a column, quoted or not.
func (a *Adoption) isName(text, column string) bool {
	for open, end := range map[byte]string{'"': `"`, '`': "`", '[': "]"} {
		if text[0] == open && len(text) > 1 && strings.HasSuffix(text, end) {
			text = strings.ReplaceAll(text[1:len(text)-1], end+end, end)
			break
		}
	}
	return text == column || a.db.Kind != sqldb.Postgres && strings.EqualFold(text, column)
}

// samePart says whether two parts compare the same.
func (a *Adoption) samePart(one, other string) bool {
	if strings.Contains(one+other, "'") { // blanks and quotes may be of what is written down
		return strings.TrimSpace(one) == strings.TrimSpace(other)
	}
	bare := strings.NewReplacer(`"`, "", "`", "", " ", "", "\n", "")
	one, other = bare.Replace(one), bare.Replace(other)
	return one == other || a.db.Kind != sqldb.Postgres && strings.EqualFold(one, other)
}

// asking is a part of an index as an expression that a question may have: without a
// class of operators, and of a column that is indexed in part the part.
func asking(part string) string {
	part = regexp.MustCompile(`\s+\w+_ops(?:\s*\([^()]*\))?$`).ReplaceAllString(part, "")
	return `(` + regexp.MustCompile("^(`(?:[^`]|``)+`)\\((\\d+)\\)$").ReplaceAllString(part, "LEFT($1, $2)") + `)`
}

// within says whether a table is a part of that of a uniqueness, so that this holds in
// it: the same, or a partition of one that has it over all of them.
func (u uniqueness) within(table string) bool { return u.of == table || u.of == "" && u.spans }

// apart says whether others of these parts let no two rows be equal in any case.
func (a *Adoption) apart(all []uniqueness, table string, parts []string) bool {
	return slices.ContainsFunc(all, func(u uniqueness) bool {
		if !u.enforced || !u.immediate || u.where != "" || u.by.where != "" || !u.within(table) || len(u.by.parts) == 0 {
			return false
		}
		return !slices.ContainsFunc(u.by.parts, func(part string) bool {
			return !slices.ContainsFunc(parts, func(of string) bool { return a.samePart(of, part) })
		})
	})
}

// lost says why no index over wide columns keeps what a uniqueness compares, and of
// which column; "" is that one may. What is no equality and what its predicate alone
// is about is judged apart.
func (m *moving) lost(u uniqueness, all []uniqueness) (at *liveColumn, why string) {
	if !u.equality {
		return nil, ""
	}
	var beside []string
	tenants := m.def.Tenant == ""
	for _, part := range u.by.parts {
		i := slices.IndexFunc(m.cells, func(c liveColumn) bool { return wordIn(part, c.Plain) })
		if i < 0 {
			beside = append(beside, part)
			whole, _ := m.comparesWhole(part, m.def.Tenant)
			tenants = tenants || whole
			continue
		}
		c := &m.cells[i]
		if at == nil {
			at = c
		}
		whole, folds := m.comparesWhole(part, c.Plain)
		if !whole {
			return c, fmt.Sprintf("the uniqueness %s compares a part of %s, or what is made of it, and an index over the sealed column tells whole values apart: it refuses less; declare an index of its own (a normaliser that returns what is compared, Unique: true) while the definition may change", u.name, c.Plain)
		}
		const one, other = "Ann@b.example", "ann@b.example"
		if wide := c.wideIndex(); folds && wide != "" && m.cfg.Table.Match(wide, one, one) && !m.cfg.Table.Match(wide, one, other) {
			return c, fmt.Sprintf("the uniqueness %s takes upper and lower case in %s for equal, and the normaliser of %s does not: it refuses less; declare one that does (Unique: true) while the definition may change", u.name, c.Plain, wide)
		}
	}
	switch {
	case at == nil || m.apart(all, u.of, beside):
		return nil, ""
	case u.otherwise != "":
		return at, fmt.Sprintf("the uniqueness %s over %s says %s, which no index over the sealed column does: let the application say it, and keep by an index of your own what is left of it", u.name, at.Plain, u.otherwise)
	case !tenants:
		return at, fmt.Sprintf("the uniqueness %s over %s holds over all tenants, and an index over the sealed column is unique within one: it lets in what another tenant has; make it one over %s and %s first, if it is meant so", u.name, at.Plain, m.def.Tenant, at.Plain)
	}
	return nil, ""
}

// lostly are the obstacles of uniquenesses that no index keeps.
func lostly(at *liveColumn, u uniqueness, why string) Obstacle {
	return Obstacle{Column: at.Name, Option: "LoseUnique", Name: u.name, Why: why}
}

// otherwise says what a uniqueness does beside refusing equal rows, "" where nothing:
// periods of MariaDB that may not overlap, rows that SQLite leaves out or takes away.
func (m *moving) otherwise(ctx context.Context) (says func(u uniqueness) string, err error) {
	none := func(uniqueness) string { return "" }
	switch m.db.Kind {
	case sqldb.SQLite:
		text, err := m.created(ctx)
		definitions, _ := indexed(text)
		conflict := regexp.MustCompile(`(?is)\b(?:UNIQUE|KEY)\b(?:\s*\([^()]*\)|\s+(?:ASC|DESC))?\s*ON\s+CONFLICT\s+(IGNORE|REPLACE)\b`)
		return func(u uniqueness) string {
			if !u.ofTable {
				return ""
			}
			for _, definition := range definitions {
				match := conflict.FindStringSubmatch(definition)
				if match != nil && !slices.ContainsFunc(u.columns, func(c string) bool { return !wordIn(definition, c) }) {
					return "ON CONFLICT " + strings.ToUpper(match[1])
				}
			}
			return ""
		}, err
	case sqldb.MariaDB:
		var shown, text string
		err := m.rows(ctx, func(scan func(...any) error) error { return scan(&shown, &text) }, `SHOW CREATE TABLE `+m.sql)
		overlaps := regexp.MustCompile("(?m)^\\s*(?:PRIMARY KEY|UNIQUE KEY [`\"](.+?)[`\"]) .*\\bWITHOUT OVERLAPS\\)")
		names := map[string]bool{}
		for _, match := range overlaps.FindAllStringSubmatch(text, -1) {
			name := strings.NewReplacer("``", "`", `""`, `"`).Replace(match[1])
			if name == "" {
				name = "PRIMARY"
			}
			names[name] = true
		}
		return func(u uniqueness) string {
			if names[u.name] {
				return "WITHOUT OVERLAPS"
			}
			return ""
		}, err
	case sqldb.Postgres, sqldb.MySQL: // it is no equality, or not offered
	}
	return none, nil
}
