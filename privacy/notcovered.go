package privacy

import (
	"slices"

	"github.com/crmguard/crmguard/internal/sqldb"
	"github.com/crmguard/crmguard/privacy/datamap"
	"github.com/crmguard/crmguard/privacy/datastore"
)

// olderBackups begins what a certificate says of copies that no erasure
// reaches. What was deleted stays in them; only what was sealed under a key of
// the person, and that key is gone, became unreadable there too.
const olderBackups = "backups from before the erasure, until they are deleted: "

// notCovered adds to the configured list what of the schema keeps copies, the stores that cannot be read back,
// what a database server keeps of deleted rows, and what older backups keep
// readable; and the stores that keep rows and cannot show that they are there.
func (d *Desk) notCovered(rows []datastore.Row) []string {
	counts := Sum(rows)
	list := append(slices.Clone(d.cfg.NotCovered), d.checked.kept()...)
	if d.db.Kind != sqldb.SQLite { // which forgets with secure_delete, see copies, and a checkpoint
		list = append(list, "what the "+string(d.db.Kind)+" server keeps of deleted rows until it overwrites them: dead rows, samples of the planner, logs, replicas")
	}
	var kept []string
	shreds := slices.ContainsFunc(counts, func(c Count) bool { // rows of the map rely on a key that another store destroys
		_, mapped := d.cfg.Map.Table(c.Table)
		return c.Class == datastore.Shredded && !mapped
	})
	var unshown []string
	for _, s := range d.stores() {
		f, ok := datastore.AsFunc(s)
		if !ok {
			if _, shows := s.(datastore.Keeper); !shows && len(keptOf(rowsOf(rows, s))) > 0 {
				unshown = append(unshown, "store "+s.Name()+" keeps records and cannot show that they are there")
			}
			continue
		}
		if f.Remaining == nil {
			list = append(list, "store "+f.Name+" was erased but cannot be read back")
		}
		switch {
		case f.Class == datastore.Shredded:
			shreds = true
		case f.Class != datastore.Kept && !f.Sealed:
			kept = append(kept, olderBackups+"what store "+f.Name+" held")
		}
	}
	if !shreds {
		return append(append(list, olderBackups+"all they hold, for no key of the person was destroyed"), unshown...)
	}
	for _, c := range counts {
		line := olderBackups + "clear columns of table " + c.Table
		if c.Class != datastore.Kept && d.clear(c.Table) && !slices.Contains(kept, line) {
			kept = append(kept, line)
		}
	}
	return append(append(list, kept...), unshown...)
}

// clear reports whether a table of the map holds personal data unsealed.
func (d *Desk) clear(table string) bool {
	t, _ := d.cfg.Map.Table(table)
	return slices.ContainsFunc(t.Columns, func(c datamap.Column) bool { return c.Personal() && !c.Sealed })
}
