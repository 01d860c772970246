package sqlstore_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/privacy/datamap"
	"github.com/crmguard/crmguard/privacy/datastore"
)

// Nothing is deleted because the date of its obligation cannot be read.
func TestDatesOfAnObligation(t *testing.T) {
	day := time.Date(2024, 5, 1, 0, 0, 0, 0, time.UTC)
	at := time.Date(2024, 5, 1, 10, 20, 30, 0, time.UTC)
	over := time.Date(2001, 5, 1, 0, 0, 0, 0, time.UTC)
	now := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		stored any
		from   time.Time // zero: unreadable
	}{
		{"2024-05-01", day},
		{[]byte("2024-05-01"), day},
		{"2024-05-01 00:00", day},
		{"2024-05-01T00:00Z", day},
		{"2024-05-01 10:20:30", at},
		{"2024-05-01T10:20:30", at},
		{"2024-05-01T10:20:30Z", at},
		{"2024-05-01 10:20:30.000", at},
		{"2024-05-01T12:20:30+02:00", at},
		{"2024-05-01 12:20:30+02:00", at},
		{"2024-05-01 12:20:30+02", at},
		{at.String(), at},
		{at.String() + " m=+0.012", at},
		{at.In(time.FixedZone("CEST", 7200)).String(), at},
		{at, at},
		{at.UnixMicro(), at},
		{fmt.Sprint(at.UnixMicro()), at},
		{"2001-05-01", over},
		{over.UnixMicro(), over},
		{"1901-05-01", time.Date(1901, 5, 1, 0, 0, 0, 0, time.UTC)},
		{"2199-05-01", time.Date(2199, 5, 1, 0, 0, 0, 0, time.UTC)},

		{at.Unix(), time.Time{}},
		{at.UnixMilli(), time.Time{}},
		{at.UnixNano(), time.Time{}},
		{int64(0), time.Time{}},
		{int64(-1), time.Time{}},
		{int64(-1 << 63), time.Time{}},
		{int64(1<<63 - 1), time.Time{}},
		{fmt.Sprint(at.Unix()), time.Time{}},
		{"20240501", time.Time{}},
		{float64(at.Unix()) + .5, time.Time{}},
		{2460431.5, time.Time{}},
		{"", time.Time{}},
		{" ", time.Time{}},
		{[]byte{}, time.Time{}},
		{[]byte{0xff, 0}, time.Time{}},
		{"soon", time.Time{}},
		{"01.05.2024", time.Time{}},
		{"05/01/2024", time.Time{}},
		{"2024-02-30", time.Time{}},
		{"0000-00-00", time.Time{}},
		{"0001-01-01", time.Time{}},
		{time.Time{}, time.Time{}},
		{"9999-12-31", time.Time{}},
		{"2024-05-01 nonsense", time.Time{}},
	} {
		db := openDB(t)
		exec(t, db, `CREATE TABLE invoices (id INTEGER PRIMARY KEY, person TEXT, street TEXT, issued)`)
		exec(t, db, `INSERT INTO invoices VALUES (1, 'p1', 'Street', ?)`, c.stored)
		s := open(t, db, &datamap.Map{Tenant: "t1", Tables: []datamap.Table{{
			Name: "invoices", Key: []string{"id"}, Person: "person", Erase: datamap.Delete,
			Keep:    &datamap.Keep{Because: "law", From: "issued", Years: 10},
			Columns: []datamap.Column{{Name: "person", Category: "id", Erase: datamap.Retain}, {Name: "street", Category: "street", Erase: datamap.Retain}},
		}}})
		scope := datastore.Scope{Tenant: "t1", Person: "p1", Now: now}
		rows, err := s.Find(t.Context(), scope)
		require.NoError(t, err, "%T %v", c.stored, c.stored)
		want := datastore.Row{Table: "invoices", Key: "1", Class: datastore.Deleted}
		until := c.from.AddDate(10, 0, 0)
		switch {
		case c.from.IsZero():
			want.Class, want.Because, want.Clean = datastore.Kept, "law (issued holds no date that can be read)", true
		case until.After(now):
			want.Class, want.Because, want.Until, want.Clean = datastore.Kept, "law", until, true
		}
		require.Equal(t, []datastore.Row{want}, rows, "%T %v", c.stored, c.stored)
		require.NoError(t, s.Erase(t.Context(), scope, nil))
		left := map[bool]int{true: 1}[want.Class == datastore.Kept]
		require.Equal(t, left, count(t, db, `SELECT COUNT(*) FROM invoices`), "%T %v", c.stored, c.stored)
	}
}

// NULL is a date that is not there yet: the obligation has not begun.
func TestAnObligationWithoutADateHasNotBegun(t *testing.T) {
	db := openDB(t)
	exec(t, db, `CREATE TABLE invoices (id INTEGER PRIMARY KEY, person TEXT, street TEXT, issued)`)
	exec(t, db, `INSERT INTO invoices VALUES (1, 'p1', 'Street', NULL)`)
	s := open(t, db, &datamap.Map{Tenant: "t1", Tables: []datamap.Table{{
		Name: "invoices", Key: []string{"id"}, Person: "person", Erase: datamap.Delete,
		Keep:    &datamap.Keep{Because: "law", From: "issued", Years: 10},
		Columns: []datamap.Column{{Name: "person", Category: "id", Erase: datamap.Retain}, {Name: "street", Category: "street", Erase: datamap.Retain}},
	}}})
	require.NoError(t, s.Erase(t.Context(), datastore.Scope{Tenant: "t1", Person: "p1"}, nil))
	require.Equal(t, 0, count(t, db, `SELECT COUNT(*) FROM invoices`))
}
