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

// notCovered adds to the configured list the stores that cannot be read back,
// what a database server keeps of deleted rows, and what older backups keep
// readable. counts are the plan's.
func (d *Desk) notCovered(counts []Count) []string {
	list := slices.Clone(d.cfg.NotCovered)
	if d.db.Kind != sqldb.SQLite { // which forgets with secure_delete and a checkpoint
		list = append(list, "what the "+string(d.db.Kind)+" server keeps of deleted rows until it overwrites them: dead rows, logs, replicas")
	}
	var kept []string
	shreds := slices.ContainsFunc(counts, func(c Count) bool { // rows of the map rely on a key that another store destroys
		_, mapped := d.cfg.Map.Table(c.Table)
		return c.Class == datastore.Shredded && !mapped
	})
	for _, s := range d.cfg.Stores {
		f, ok := datastore.AsFunc(s)
		if !ok {
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
		return append(list, olderBackups+"all they hold, for no key of the person was destroyed")
	}
	for _, c := range counts {
		line := olderBackups + "clear columns of table " + c.Table
		if c.Class != datastore.Kept && d.clear(c.Table) && !slices.Contains(kept, line) {
			kept = append(kept, line)
		}
	}
	return append(list, kept...)
}

// clear reports whether a table of the map holds personal data unsealed.
func (d *Desk) clear(table string) bool {
	t, _ := d.cfg.Map.Table(table)
	return slices.ContainsFunc(t.Columns, func(c datamap.Column) bool { return c.Personal() && !c.Sealed })
}
