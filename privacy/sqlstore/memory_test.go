package sqlstore_test

import (
	"fmt"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/internal/testdb"
	"github.com/crmguard/crmguard/privacy"
	"github.com/crmguard/crmguard/privacy/datamap"
	"github.com/crmguard/crmguard/privacy/datastore"
)

// heap is what lives, the most of it at any call to the database.
type heap struct {
	on    bool
	calls int
	every int
	base  uint64
	most  uint64
}

func (h *heap) look(bool) {
	if h.calls++; !h.on || h.calls%h.every != 0 {
		return
	}
	h.most = max(h.most, living())
}

func living() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// measure is how many bytes more than before live at any call.
func (h *heap) measure(every int, work func()) int64 {
	h.base, h.most, h.every, h.on = living(), 0, every, true
	work()
	h.on = false
	return int64(h.most) - int64(h.base)
}

// Of a person with many rows keys and what edges compare are in memory, packed:
// so many bytes for each row, at any statement. Orders lead to lines.
func TestManyRowsFitIntoMemory(t *testing.T) {
	const rows = 30_000
	h := &heap{}
	db := testdb.Watching(t, "sqlite", "file:"+filepath.Join(t.TempDir(), "crm.db")+"?_pragma=journal_mode(WAL)&_pragma=synchronous(OFF)", h.look)
	db.SetMaxOpenConns(1)
	exec(t, db, `CREATE TABLE contacts (id TEXT PRIMARY KEY, person TEXT);
		CREATE TABLE visits (id TEXT PRIMARY KEY, person TEXT, created INTEGER, page TEXT);
		CREATE INDEX visits_person ON visits (person);
		CREATE TABLE orders (id INTEGER PRIMARY KEY, contact TEXT, placed INTEGER);
		CREATE INDEX orders_contact ON orders (contact);
		CREATE TABLE lines (id INTEGER PRIMARY KEY, "order" INTEGER);
		CREATE INDEX lines_order ON lines ("order");
		CREATE TABLE last (id INTEGER PRIMARY KEY, person TEXT)`)
	require.NoError(t, privacy.Install(t.Context(), db))
	s := storeOf(t, db,
		datamap.Table{Name: "contacts", Key: []string{"id"}, Person: "person", Erase: datamap.Delete},
		datamap.Table{Name: "visits", Key: []string{"id"}, Person: "person", Created: "created", Erase: datamap.Delete},
		datamap.Table{Name: "orders", Key: []string{"id"}, Edges: []datamap.Edge{edge("contact", "contacts")}, Erase: datamap.Delete},
		datamap.Table{Name: "lines", Key: []string{"id"}, Edges: []datamap.Edge{edge("order", "orders")}, Erase: datamap.Delete},
		datamap.Table{Name: "last", Key: []string{"id"}, Person: "person", Erase: datamap.Delete})
	exec(t, db, `INSERT INTO contacts VALUES ('c1', 'p1'), ('c2', 'p2')`)
	many := fmt.Sprintf(`WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %d) `, rows)
	exec(t, db, `INSERT INTO visits `+many+`SELECT printf('0195d2c0-0000-7000-8000-%012x', i), 'p1', 1700000000000000 + i, 'a page of the shop' FROM n`)
	exec(t, db, `INSERT INTO orders `+many+`SELECT i, 'c2', i FROM n`)

	for _, c := range []struct {
		name, person       string
		exporting, erasing int64 // bytes a row
	}{{"visits", "p1", 320, 420}, {"orders", "p2", 560, 580}} {
		scope := datastore.Scope{Tenant: "t1", Person: c.person, Now: time.Now()}
		n := 0
		exporting := h.measure(3, func() {
			for _, err := range s.Export(t.Context(), scope) {
				require.NoError(t, err)
				n++
			}
		})
		require.Equal(t, rows+1, n)
		erasing := h.measure(7, func() { require.NoError(t, s.Erase(t.Context(), scope, nil)) })
		t.Logf("%s: exporting %d, erasing %d bytes a row", c.name, exporting/rows, erasing/rows)
		require.Less(t, exporting/rows, c.exporting)
		require.Less(t, erasing/rows, c.erasing)
	}
}
