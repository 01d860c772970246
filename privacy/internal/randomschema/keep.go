package randomschema

import (
	"fmt"
	"time"

	"github.com/crmguard/crmguard/internal/testdb"
	"github.com/crmguard/crmguard/privacy/datamap"
)

// keptYears is how long the obligations of all tables run.
const keptYears = 10

// A dateForm is how applications write the date from which an obligation counts.
type dateForm struct {
	kind   kind
	layout string // of a text; empty: microseconds since 1970
}

// dateForms are all that a map can name.
func dateForms() []dateForm {
	return []dateForm{
		{day, time.DateOnly},
		{stamp, "2006-01-02 15:04:05.000000"},
		{moment, "2006-01-02 15:04:05.000000-07:00"},
		{number, ""},
		{name, time.DateOnly},
		{name, time.RFC3339Nano},
		{name, "2006-01-02 15:04:05.000000"},
		{name, "zone"},
	}
}

// Obligation is what a certificate has to say of kept rows.
type Obligation struct {
	Table, Because string
	Until          time.Time
}

// obligation makes the table one whose rows are kept.
func (d *drawer) obligation(t *table) {
	t.due = one(d, "due", dateForms()...)
	t.mapped.Erase = one(d, "and then", datamap.Delete, datamap.Null)
	t.mapped.Keep = &datamap.Keep{Because: "DE-HGB-257", From: "due", Years: keptYears}
	t.columns = append(t.columns, column{name: "due", kind: t.due.kind})
	t.mapped.Columns = append(t.mapped.Columns, datamap.Column{Name: "due"})
}

// retains says that an obligation keeps data about the person in the table.
func (t *table) retains() bool {
	for _, c := range t.columns {
		if c.name != "who" && c.personal() && c.map_[0].Erase == datamap.Retain {
			return true
		}
	}
	return false
}

// due draws the date of a row of a kept table, and whether that keeps it.
func (c *Case) due(d *drawer, t *table, r *row) {
	set := func(from time.Time) {
		r.held, r.until, r.because = from.AddDate(keptYears, 0, 0).After(Now()), from.AddDate(keptYears, 0, 0), t.mapped.Keep.Because
		r.values["due"] = c.dated(t.due, from)
	}
	switch d.upTo(0, 6, "due") {
	case 0: // not begun
	case 1:
		set(time.Date(2014, 2, 1, 0, 0, 0, 0, time.UTC))
	case 2: // on the day, or the microsecond, at which it ends
		set(Now().AddDate(-keptYears, 0, 0).Truncate(t.due.precision()))
	case 3:
		set(Now().AddDate(-keptYears, 0, 0).Truncate(t.due.precision()).Add(t.due.precision()))
	case 4:
		if bad := t.due.unreadable(c.Name); bad != nil {
			r.held, r.because, r.values["due"] = true, t.mapped.Keep.Because+" (due holds no date that can be read)", one(d, "unreadable", bad...)
			return
		}
		set(time.Date(2026, 2, 1, 0, 0, 0, 0, time.UTC))
	default:
		set(time.Date(2026, 2, 1, 0, 0, 0, 0, time.UTC))
	}
}

func (f dateForm) precision() time.Duration {
	if f.layout == time.DateOnly {
		return 24 * time.Hour
	}
	return time.Minute // longer than keys are cached
}

// dated is the date as an application hands it to the database.
func (c *Case) dated(f dateForm, at time.Time) any {
	switch {
	case f.layout == "" || f.kind == moment && c.Name == testdb.SQLite:
		return at.UnixMicro()
	case f.kind == moment && c.Name == testdb.MariaDB:
		return at.Format("2006-01-02 15:04:05.000000") // DATETIME knows no zone
	case f.layout == "zone":
		return at.In(time.FixedZone("", 5*3600+30*60)).Format(time.RFC3339Nano)
	}
	return at.Format(f.layout)
}

// unreadable are values of the column that are no dates.
func (f dateForm) unreadable(on testdb.Name) []any {
	switch {
	case f.kind == name:
		return []any{"", "soon", "2014", "01.02.2014", "0000-00-00", "9999-12-31", "2014-02-30", "1391212800"}
	case f.layout == "" || f.kind == moment && on == testdb.SQLite:
		return []any{int64(0), int64(1391212800), int64(1391212800000)} // seconds and milliseconds
	case f.kind == day:
		return []any{"9999-12-31", "0001-01-01"}
	}
	return nil
}

// Obligations are the rows that stay because of an obligation when the persons
// are erased, as a certificate counts them.
func (c *Case) Obligations(persons ...int) map[Obligation]int {
	all := map[Obligation]int{}
	for _, t := range c.tables {
		for _, r := range c.rows[t.n] {
			if r.held && r.of(persons) && (t.retains() || t.lines) {
				all[Obligation{t.name, r.because, r.until}]++
			}
		}
	}
	return all
}

// String says it for a failing test.
func (o Obligation) String() string { return fmt.Sprint(o.Table, " ", o.Because, " ", o.Until) }
