package accesscontrol

import (
	"fmt"
	"slices"
	"strings"

	"github.com/crmguard/crmguard/accesscontrol/internal/cedarx"
	"github.com/crmguard/crmguard/accesscontrol/internal/sqlcond"
	"github.com/crmguard/crmguard/internal/sqldb"
)

// sqlMasks are the masks as SQL writes them.
var sqlMasks = map[Mask]sqlcond.Mask{MaskEmail: sqlcond.MaskEmail, MaskYear: sqlcond.MaskYear, MaskLast4: sqlcond.MaskLast4, MaskAll: sqlcond.MaskAll}

// masks looks at the masks of a table, when its groups are known.
func (b *binder) masks(t *table) {
	for _, source := range t.Columns {
		c := t.columns[source.Attr]
		if c.mask == "" {
			continue
		}
		_, known := sqlMasks[c.mask]
		switch {
		case !known:
			b.problem("table %s: the mask of %s is no %q: it is MaskEmail, MaskYear, MaskLast4 or MaskAll", t.Resource, c.attr, string(c.mask))
		case len(t.fields[c.attr]) == 0:
			b.problem("table %s: attribute %s has a mask and stands in no group: whoever reads the record would read it", t.Resource, c.attr)
		case !c.suits():
			b.problem("table %s: attribute %s has a type of which the mask %s shows nothing: use MaskAll", t.Resource, c.attr, string(c.mask))
		}
	}
	for _, g := range t.Groups {
		if g.Masked != "" && !slices.ContainsFunc(g.Fields, func(f string) bool { return t.columns[f].mask != "" }) {
			b.problem("table %s: group %s names the action %s for masks, and none of its columns has one", t.Resource, g.Name, g.Masked)
		}
	}
}

// suits says whether a mask may show something of the column's values.
func (col *column) suits() bool {
	switch kind := col.typ.Kind; {
	case col.mask == MaskAll, kind == 0, kind == cedarx.String:
		return true
	case col.mask == MaskLast4:
		return kind == cedarx.Long
	case col.mask == MaskYear:
		return col.Storage == sqlcond.Instant || col.Storage == sqlcond.Day
	default:
		return false
	}
}

// maskable are the types of columns of which a mask may show something; sealed
// ones are not among them. A type that is missing here has other texts in the
// database than its driver gives.
var maskable = map[sqldb.Kind]struct{ texts, numbers, dates, times, bytes []string }{
	sqldb.SQLite: {texts: []string{"TEXT"}, numbers: []string{"INTEGER", "INT"}, bytes: []string{"BLOB"}},
	sqldb.Postgres: {
		texts: []string{"text", "character varying", "character", "citext"}, numbers: []string{"bigint", "integer", "smallint"},
		dates: []string{"date"}, times: []string{"timestamp with time zone"}, bytes: []string{"bytea"},
	},
	sqldb.MariaDB: mysqlMaskable, sqldb.MySQL: mysqlMaskable,
}

var mysqlMaskable = struct{ texts, numbers, dates, times, bytes []string }{
	texts: []string{"varchar", "char", "text", "tinytext", "mediumtext", "longtext"}, numbers: []string{"bigint", "int", "mediumint", "smallint", "tinyint"},
	dates: []string{"date"}, times: []string{"datetime"}, bytes: []string{"binary", "varbinary", "blob", "tinyblob", "mediumblob", "longblob"},
}

// unmaskable says why the database cannot put the mask on a live column as
// [Mask.Apply] puts it on its values.
func (col *column) unmaskable(kind sqldb.Kind, live liveColumn) string {
	of, fits := maskable[kind], []string(nil)
	switch {
	case col.mask == "" || col.opaque: // its mask is a word
		return ""
	case col.mask == MaskAll && slices.Contains(of.bytes, live.kind):
		return "is " + live.kind + ", which a mask has no type for: declare it Opaque"
	case col.mask == MaskAll:
		return ""
	case col.mask == MaskYear && col.Storage == sqlcond.Instant:
		fits = of.times
	case col.mask == MaskYear:
		fits = slices.Concat(of.texts, of.dates)
	case col.mask == MaskLast4:
		fits = slices.Concat(of.texts, of.numbers)
	default:
		fits = of.texts
	}
	switch {
	case !slices.Contains(fits, live.kind):
		return fmt.Sprintf("is %s, and its mask %s is one of %s: use MaskAll, or another column", live.kind, string(col.mask), strings.Join(fits, ", "))
	case live.inexact != "" && kind != sqldb.Postgres: // of PostgreSQL it is the order, which masks do not ask
		return "has " + live.inexact
	default:
		return ""
	}
}
