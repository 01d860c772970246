package capture_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/audit/capture"
)

func TestManyTablesAreFoundOnTheSearchPathOfTheSession(t *testing.T) {
	one(t, func(b *bench) {
		b.exec(`CREATE SCHEMA app`)
		var tables []capture.Table
		var create, write strings.Builder
		for i := range 120 {
			name := fmt.Sprintf("t%03d", i)
			fmt.Fprintf(&create, "CREATE TABLE app.%s (id int PRIMARY KEY);", name)
			fmt.Fprintf(&write, "INSERT INTO app.%s VALUES (%d);", name, i)
			tables = append(tables, capture.Table{Name: name, Kind: "thing", Tenant: "main"})
		}
		up, down, err := capture.Pack(tables...)
		require.NoError(b, err)
		session := b.conn()
		execOn(b, session, create.String(), `SET search_path = public, app`, up, up)
		b.exec(write.String())
		got := b.captured()
		require.Len(b, got, 120)
		for i, row := range got {
			require.Equal(b, said{"i", fmt.Sprintf("t%03d", i), "thing", "main", fmt.Sprint(i), nil}, row)
		}
		execOn(b, session, down)
		require.Empty(b, b.text(everything))
	})
}

func TestAWideTableIsCaptured(t *testing.T) {
	one(t, func(b *bench) {
		var columns, set []string
		for i := range 1500 {
			columns = append(columns, fmt.Sprintf("c%04d int DEFAULT 0", i))
			set = append(set, fmt.Sprintf("c%04d = 1", i))
		}
		b.exec(`CREATE TABLE things (id int PRIMARY KEY, ` + strings.Join(columns, ", ") + `)`)
		b.pack(capture.Table{Name: "things", Kind: "thing", Tenant: "main"})
		b.exec(`INSERT INTO things (id) VALUES (1)`, `UPDATE things SET c0700 = 7`, `UPDATE things SET `+strings.Join(set, ", "))
		got := b.captured()
		require.Equal(b, []string{"c0700"}, got[1].Cols)
		require.Len(b, got[2].Cols, 1500)
		b.exec(`ALTER TABLE things DROP COLUMN c0000`, `UPDATE things SET c0700 = 8`)
		require.Equal(b, []string{"c0700"}, b.captured()[0].Cols)
	})
}

// A value of a megabyte that stays is compared, not written down.
func TestALargeValueIsOnlyCompared(t *testing.T) {
	one(t, func(b *bench) {
		b.exec(`CREATE TABLE files (id int PRIMARY KEY, body text, meta jsonb, name text)`, `ALTER TABLE files ALTER body SET STORAGE EXTERNAL`)
		b.pack(capture.Table{Name: "files", Kind: "file", Tenant: "main"})
		b.exec(`INSERT INTO files VALUES (1, repeat('x', 1000000), jsonb_build_object('a', repeat('y', 1000000)), 'a')`, `UPDATE files SET name = 'b'`,
			`UPDATE files SET body = overlay(body placing 'z' from 999999), meta = meta || '{"b":1}'`)
		got := b.captured()
		require.Equal(b, [][]string{nil, {"name"}, {"body", "meta"}}, [][]string{got[0].Cols, got[1].Cols, got[2].Cols})
	})
}
