package accesscontrol

import (
	"fmt"
	"slices"

	"github.com/crmguard/crmguard/accesscontrol/internal/cedarx"
	"github.com/crmguard/crmguard/accesscontrol/internal/sqlcond"
	"github.com/crmguard/crmguard/internal/sqldb"
)

// fitting are the types of columns that hold the values of each [ColumnType]
// and compare as the checks do, the usual one first.
type fitting struct{ number, flag, text, uuid, enum, timestamp, date []string }

// fits lists the types that a column may have, none where the database has no
// such type; compared is false where no condition looks at it.
func (col *column) fits(kind sqldb.Kind) (types []string, compared bool) {
	var of fitting
	switch kind {
	case sqldb.SQLite:
		whole := []string{"INTEGER", "INT"}
		of = fitting{number: whole, flag: whole, text: []string{"TEXT"}, enum: []string{"TEXT"}, date: []string{"TEXT"}}
	case sqldb.Postgres:
		of = fitting{
			number: []string{"bigint", "integer", "smallint"}, flag: []string{"boolean"},
			// citext is no text for an index, char(n) is padded for whoever reads it.
			text: []string{"text", "character varying"},
			uuid: []string{"uuid"}, enum: []string{"enum"}, timestamp: []string{"timestamp with time zone"}, date: []string{"date"},
		}
	default:
		of = fitting{
			number: []string{"bigint", "int", "mediumint", "smallint", "tinyint"}, flag: []string{"tinyint", "bit(1)"},
			text: []string{"varchar", "varbinary", "text", "tinytext", "mediumtext", "char", "enum"},
			enum: []string{"enum"}, timestamp: []string{"datetime"}, date: []string{"date"},
		}
		if kind == sqldb.MariaDB {
			of.uuid = []string{"uuid"}
		}
	}
	switch {
	case col.Storage == sqlcond.Whole, col.typ.Kind == cedarx.Long:
		return of.number, true
	case col.Storage == sqlcond.UUID:
		return of.uuid, true
	case col.Storage == sqlcond.Label:
		return of.enum, true
	case col.Storage == sqlcond.Instant:
		return of.timestamp, true
	case col.Storage == sqlcond.Day:
		return of.date, true
	case col.typ.Kind == cedarx.Bool:
		return of.flag, true
	case col.typ.Kind == cedarx.String, col.typ.Kind == cedarx.EntityRef:
		return of.text, true
	default:
		return nil, false
	}
}

// as is the ColumnType of the binding.
func (col *column) as() ColumnType {
	for as, of := range storages {
		if of.storage == col.Storage {
			return as
		}
	}
	return ""
}

// instead says how a column of another type may stay as it is: by the field of
// the binding that names its type, or beside one that is generated.
func (col *column) instead(got string, kind sqldb.Kind) string {
	for _, as := range []struct {
		name    string
		storage sqlcond.Storage
	}{{"Integer", sqlcond.Whole}, {"UUID", sqlcond.UUID}, {"Enum", sqlcond.Label}, {"Timestamp", sqlcond.Instant}, {"Date", sqlcond.Day}} {
		other := *col
		other.Storage = as.storage
		types, _ := other.fits(kind)
		if key := col.attr == keyAttr || col.attr == tenantAttr || col.typ.Kind == cedarx.EntityRef && col.typ.Entity == ""; !slices.Contains(types, got) ||
			!slices.Contains(storages[other.as()].holds, col.typ.Kind) && col.attr != tenantAttr || key && as.storage == sqlcond.Label {
			continue
		}
		field := "Column.As"
		switch col.attr {
		case keyAttr:
			field = "Table.KeyAs"
		case tenantAttr:
			field = "Table.TenantAs"
		}
		if col.field != "" {
			field = col.field
		}
		return ", or set " + field + " to " + as.name
	}
	if made := generated[got]; made != "" && kind == sqldb.Postgres && (col.typ.Kind == cedarx.Long) == (got == "numeric") {
		return ": bind one that is GENERATED ALWAYS AS (" + fmt.Sprintf(made, col.Name) + ") STORED"
	}
	return ""
}

// generated are what a column of PostgreSQL is generated as beside one that
// cannot be compared.
var generated = map[string]string{
	"citext": "%s::text", "character": "%s::text", "jsonb": "%s #>> '{}'", "numeric": "(%s * 100)::bigint",
}
