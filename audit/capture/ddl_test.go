package capture_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/audit/capture"
)

// A migration comes when it comes: sessions are open, and nobody thinks of the
// pack. No statement of the application fails for it, and no change is lost.
func TestColumnsThatChangeAfterwardsBreakNoWrite(t *testing.T) {
	each(t, func(b *bench) {
		steps := []struct {
			name, change string
			write        string
			want         said // but for Table and Kind
		}{
			{"added", `ALTER TABLE things ADD COLUMN later json`, `UPDATE things SET later = '1' WHERE id = 1`, said{"u", "", "", "main", "1", []string{"later"}}},
			{"added beside what is skipped", `ALTER TABLE things ADD COLUMN later json`, `UPDATE things SET later = '1', skipped = 9 WHERE id = 1`, said{"u", "", "", "main", "1", []string{"later"}}},
			{"added, others change", `ALTER TABLE things ADD COLUMN later json`, `UPDATE things SET v = 9 WHERE id = 1`, said{"u", "", "", "main", "1", []string{"v"}}},
			{"dropped", `ALTER TABLE things DROP COLUMN w`, `UPDATE things SET v = 9 WHERE id = 1`, said{"u", "", "", "main", "1", []string{"v"}}},
			{"skipped one dropped", `ALTER TABLE things DROP COLUMN skipped`, `UPDATE things SET v = 9 WHERE id = 1`, said{"u", "", "", "main", "1", []string{"v"}}},
			{"renamed", `ALTER TABLE things RENAME COLUMN v TO vv`, `UPDATE things SET vv = 9 WHERE id = 1`, said{"u", "", "", "main", "1", []string{"vv"}}},
			{"type without comparison", `ALTER TABLE things ALTER COLUMN v TYPE json USING to_json(v)`, `UPDATE things SET v = '9' WHERE id = 1`, said{"u", "", "", "main", "1", []string{"v"}}},
			{"larger type", `ALTER TABLE things ALTER COLUMN v TYPE bigint`, `UPDATE things SET v = 9 WHERE id = 1`, said{"u", "", "", "main", "1", []string{"v"}}},
			{"type of the key", `ALTER TABLE things ALTER COLUMN id TYPE text`, `UPDATE things SET v = 9 WHERE id = '1'`, said{"u", "", "", "main", "1", []string{"v"}}},
			{"dropped and added again", `ALTER TABLE things DROP COLUMN v, ADD COLUMN v uuid`, `UPDATE things SET v = 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11' WHERE id = 1`, said{"u", "", "", "main", "1", []string{"v"}}},
			{"key renamed", `ALTER TABLE things RENAME COLUMN id TO number`, `UPDATE things SET v = 9 WHERE number = 1`, said{"u", "", "", "main", "", []string{"v"}}},
			{"key renamed, insertion", `ALTER TABLE things RENAME COLUMN id TO number`, `INSERT INTO things VALUES (5, 'main', 5)`, said{"i", "", "", "main", "", nil}},
			{"key dropped, deletion", `ALTER TABLE things DROP COLUMN id`, `DELETE FROM things`, said{"d", "", "", "main", "", nil}},
			{"tenant renamed", `ALTER TABLE things RENAME COLUMN tenant TO org`, `UPDATE things SET v = 9 WHERE id = 1`, said{"u", "", "", "", "1", []string{"v"}}},
			{"tenant dropped, insertion", `ALTER TABLE things DROP COLUMN tenant`, `INSERT INTO things VALUES (5, 5)`, said{"i", "", "", "", "5", nil}},
			{"table renamed", `ALTER TABLE things RENAME TO stuff`, `UPDATE stuff SET v = 9 WHERE id = 1`, said{"u", "", "", "main", "1", []string{"v"}}},
			{"table in another schema", `CREATE SCHEMA IF NOT EXISTS elsewhere; ALTER TABLE things SET SCHEMA elsewhere`, `UPDATE elsewhere.things SET v = 9 WHERE id = 1`, said{"u", "", "", "main", "1", []string{"v"}}},
		}
		for _, c := range steps {
			b.exec(`DROP TABLE IF EXISTS things, stuff, elsewhere.things`, `CREATE SCHEMA IF NOT EXISTS elsewhere`,
				`CREATE TABLE things (id int PRIMARY KEY, tenant text DEFAULT 'main', v int, w text, skipped int)`)
			table := capture.Table{Name: "things", Kind: "thing", TenantColumn: "tenant", Skip: []string{"skipped"}}
			b.pack(table)
			open := b.conn() // has compiled the function before the change, and is not the one that changes
			execOn(b, open, `INSERT INTO things VALUES (1, 'main', 1), (2, 'main', 2)`, `UPDATE things SET v = v + 1`, `UPDATE things SET v = v`, `UPDATE things SET skipped = 2`, `DELETE FROM things WHERE id = 2`)
			b.captured()
			b.exec(c.change)
			execOn(b, open, c.write)
			c.want.Table, c.want.Kind = "things", "thing"
			require.Equal(b, []said{c.want}, b.captured(), c.name)
			require.NoError(b, open.Close())
			lacks, err := capture.Missing(b.Context(), b.db, table)
			require.NoError(b, err)
			require.Len(b, lacks, 1, "%s: Missing says so", c.name)
		}
	})
}

// Where nobody finds any more whom a row is about, its key says nothing either: it may
// have belonged to somebody who was erased.
func TestWhereThePersonIsNotFoundTheKeyIsNone(t *testing.T) {
	each(t, func(b *bench) {
		b.exec(`CREATE TABLE notes (id bigint PRIMARY KEY, contact text, body text)`)
		b.pack(capture.Table{Name: "notes", Kind: "note", Tenant: "main", Person: "contact"})
		b.exec(`INSERT INTO notes VALUES (17, 'canary', 'x')`)
		require.Equal(b, []said{{"i", "notes", "note", "main", "17", nil}}, b.captured())
		b.exec(`ALTER TABLE notes RENAME contact TO person`, `UPDATE notes SET body = 'y'`, `DELETE FROM notes`)
		require.Equal(b, []said{{"u", "notes", "note", "main", "", []string{"body"}}, {"d", "notes", "note", "main", "", nil}}, b.captured())
	})
}

func TestPackingAgainKnowsTheColumnsOfToday(t *testing.T) {
	one(t, func(b *bench) {
		b.exec(contactsTable)
		b.pack(contacts())
		b.exec(`ALTER TABLE contacts ADD COLUMN later text`, `INSERT INTO contacts (name) VALUES ('a')`)
		b.captured()
		open := b.conn()
		execOn(b, open, `UPDATE contacts SET name = 'b', later = 'b'`)
		require.Equal(b, []string{"name"}, b.captured()[0].Cols, "the new one beside another: not named yet")
		b.pack(contacts())
		execOn(b, open, `UPDATE contacts SET name = 'c', later = 'c'`)
		require.Equal(b, []string{"name", "later"}, b.captured()[0].Cols)
	})
}

func TestPartitionsAreCaptured(t *testing.T) {
	each(t, func(b *bench) {
		b.exec(`CREATE TABLE visits (at date, id int, v int, PRIMARY KEY (at, id)) PARTITION BY RANGE (at)`,
			`CREATE TABLE visits_25 PARTITION OF visits FOR VALUES FROM ('2025-01-01') TO ('2026-01-01') PARTITION BY LIST (id)`,
			`CREATE TABLE visits_25_1 PARTITION OF visits_25 DEFAULT`)
		table := capture.Table{Name: "visits", Kind: "visit", Tenant: "main", Key: []string{"id"}}
		b.pack(table)
		b.exec(`CREATE TABLE visits_26 (v int, gone int, id int NOT NULL, at date NOT NULL)`, `ALTER TABLE visits_26 DROP COLUMN gone`,
			`ALTER TABLE visits ATTACH PARTITION visits_26 FOR VALUES FROM ('2026-01-01') TO ('2027-01-01')`)
		row := func(op string, cols ...string) said { return said{op, "visits", "visit", "main", "1", cols} }

		b.exec(`INSERT INTO visits VALUES ('2025-05-05', 1, 1)`, `UPDATE visits_25_1 SET v = 2`)
		require.Equal(b, []said{row("i"), row("u", "v")}, b.captured())
		b.exec(`UPDATE visits SET at = '2026-05-05'`)
		require.Equal(b, []said{row("d"), row("i")}, b.captured(), "into a partition that was attached later, with other columns in another order")
		b.exec(`UPDATE visits SET v = 3`, `UPDATE visits SET v = 3`, `DELETE FROM visits_26`)
		require.Equal(b, []said{row("u", "v"), row("d")}, b.captured())
		b.exec(`TRUNCATE visits`)
		require.Equal(b, []said{{Op: "t", Table: "visits", Kind: "visit"}}, b.captured())
		b.exec(`TRUNCATE visits_26`)
		require.Empty(b, b.captured(), "of one partition: not captured, as the package comment says")

		lacks, err := capture.Missing(b.Context(), b.db, table)
		require.NoError(b, err)
		require.Empty(b, lacks)
		b.exec(`ALTER TABLE visits_25_1 DISABLE TRIGGER crmguard_audit_capture`)
		lacks, err = capture.Missing(b.Context(), b.db, table)
		require.NoError(b, err)
		require.Len(b, lacks, 1)
		require.Contains(b, lacks[0].Why, "visits_25_1")
		b.pack(table)
		lacks, err = capture.Missing(b.Context(), b.db, table)
		require.NoError(b, err)
		require.Empty(b, lacks, "packing again enables it")
	})
}

func TestAnHeirIsNoPartition(t *testing.T) {
	one(t, func(b *bench) {
		b.exec(`CREATE TABLE things (id int PRIMARY KEY)`, `CREATE TABLE heirs (PRIMARY KEY (id)) INHERITS (things)`)
		table, heir := capture.Table{Name: "things", Kind: "thing", Tenant: "main"}, capture.Table{Name: "heirs", Kind: "thing", Tenant: "main"}
		b.pack(table)
		b.exec(`INSERT INTO heirs VALUES (1)`)
		require.Empty(b, b.captured())
		lacks, err := capture.Missing(b.Context(), b.db, table)
		require.NoError(b, err)
		require.Len(b, lacks, 1)
		b.exec(`CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'`,
			`CREATE TRIGGER crmguard_audit_capture AFTER TRUNCATE ON heirs EXECUTE FUNCTION nothing()`)
		require.Contains(b, b.lack(table), "heirs", "any trigger of that name is not the pack's")
		b.pack(table, heir)
		b.exec(`DELETE FROM things`)
		require.Equal(b, []said{{"d", "heirs", "thing", "main", "1", nil}}, b.captured())
		lacks, err = capture.Missing(b.Context(), b.db, table, heir)
		require.NoError(b, err)
		require.Empty(b, lacks)
	})
}
