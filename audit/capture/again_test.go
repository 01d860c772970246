package capture_test

import (
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/audit/capture"
)

// everything is what the catalogue has of the pack.
const everything = `SELECT COALESCE(string_agg(x, E'\n' ORDER BY x), '') FROM (
	SELECT 'trigger ' || oid || pg_get_triggerdef(oid) || tgenabled::text FROM pg_trigger WHERE tgname LIKE 'crmguard%'
	UNION ALL SELECT 'function ' || oid || pg_get_functiondef(oid) || obj_description(oid, 'pg_proc') || proacl::text FROM pg_proc WHERE proname LIKE 'crmguard%'
	UNION ALL SELECT 'relation ' || oid || relname FROM pg_class WHERE relname LIKE 'crmguard%') y (x)`

func TestPackingAgainChangesNothing(t *testing.T) {
	each(t, func(b *bench) {
		b.exec(contactsTable, `CREATE TABLE "Deals" (a int, b int, PRIMARY KEY (a, b))`)
		tables := []capture.Table{contacts(), {Name: "public.Deals", Kind: "deal", Tenant: "main"}}
		path := b.text(`SHOW search_path`)
		b.pack(tables...)
		first := b.text(everything)
		require.Equal(b, 4, strings.Count(first, "trigger "))
		b.pack(tables...)
		require.Equal(b, first, b.text(everything))
		require.Equal(b, path, b.text(`SHOW search_path`))

		_, down, err := capture.Pack(tables...)
		require.NoError(b, err)
		b.exec(`INSERT INTO contacts (name) VALUES ('a')`, down)
		require.Len(b, b.rows(), 1, "what waits is not thrown away")
		require.Equal(b, 0, strings.Count(b.text(everything), "trigger "))
		require.NotContains(b, b.text(everything), "function ")
		b.exec(`INSERT INTO contacts (name) VALUES ('b')`)
		require.Len(b, b.captured(), 1, "nothing more was captured")
		b.exec(down)
		require.Empty(b, b.text(everything), "all is gone")
		b.exec(down, `INSERT INTO contacts (name) VALUES ('c')`)
		require.Equal(b, path, b.text(`SHOW search_path`))
		b.pack(tables...)
		b.exec(`INSERT INTO contacts (name) VALUES ('d')`)
		require.Len(b, b.captured(), 1, "and it can begin anew")
	})
}

func TestThePackIsOneStatementOfATransaction(t *testing.T) {
	each(t, func(b *bench) {
		b.exec(contactsTable)
		up, down, err := capture.Pack(contacts())
		require.NoError(b, err)
		for _, text := range []string{up, down} {
			require.Equal(b, 1, strings.Count(text, "\nDO $crmguard$"))
			require.Equal(b, 2, strings.Count(text, "$crmguard$"), "one block and nothing beside it")
		}
		tx, err := b.db.BeginTx(b.Context(), nil)
		require.NoError(b, err)
		execOn(b, tx, `SET LOCAL search_path = public`, up)
		var path string
		require.NoError(b, tx.QueryRowContext(b.Context(), `SHOW search_path`).Scan(&path))
		require.Equal(b, "public", path, "the statements behind it in the migration find their tables")
		execOn(b, tx, `INSERT INTO contacts (name) VALUES ('a')`)
		require.NoError(b, tx.Rollback())
		require.Empty(b, b.text(everything))
	})
}

func TestTwoPacksShareTheTableOfCapturedRows(t *testing.T) {
	one(t, func(b *bench) {
		b.exec(contactsTable, `CREATE TABLE deals (id int PRIMARY KEY)`)
		deals := capture.Table{Name: "deals", Kind: "deal", Tenant: "main"}
		b.pack(contacts())
		b.pack(deals)
		b.exec(`INSERT INTO contacts (name) VALUES ('a')`, `INSERT INTO deals VALUES (1)`)
		require.Len(b, b.captured(), 2)
		_, down, err := capture.Pack(contacts())
		require.NoError(b, err)
		b.exec(down, `INSERT INTO contacts (name) VALUES ('a')`, `INSERT INTO deals VALUES (2)`)
		require.Equal(b, []said{{"i", "deals", "deal", "main", "2", nil}}, b.captured(), "the other pack goes on")
	})
}

func TestTheLastPackOfATableCounts(t *testing.T) {
	one(t, func(b *bench) {
		b.exec(contactsTable)
		first, second := contacts(), contacts()
		first.Kind, second.Name, second.Kind = "person", "public.contacts", "contact"
		b.pack(first)
		b.pack(second)
		b.exec(`INSERT INTO contacts (name) VALUES ('a')`)
		require.Equal(b, []said{{"i", "public.contacts", "contact", "main", "1", nil}}, b.captured(), "once, as the last one says")
		require.Equal(b, 1, strings.Count(b.text(everything), "function "), "nothing is left of the first")
		lacks, err := capture.Missing(b.Context(), b.db, first)
		require.NoError(b, err)
		require.Len(b, lacks, 1)
		require.Contains(b, lacks[0].Why, "another pack")
	})
}

func TestManyProcessesPackAtOnce(t *testing.T) {
	one(t, func(b *bench) {
		b.exec(contactsTable)
		up, down, err := capture.Pack(contacts())
		require.NoError(b, err)
		for range 3 {
			for _, text := range []string{up, down} {
				errs := make([]error, 8)
				var all sync.WaitGroup
				for i := range errs {
					all.Go(func() { _, errs[i] = b.db.ExecContext(b.Context(), text) })
				}
				all.Wait()
				for _, err := range errs {
					require.NoError(b, err)
				}
			}
		}
	})
}

func TestThePackIsAppliedUnderAnyIsolation(t *testing.T) {
	each(t, func(b *bench) {
		b.exec(contactsTable)
		up, down, err := capture.Pack(contacts())
		require.NoError(b, err)
		strict := b.Serializable().OpenWith(b.T, b.driver)
		execOn(b, strict, up, up, `INSERT INTO contacts (name) VALUES ('a')`, `UPDATE contacts SET name = 'b'`)
		require.Len(b, b.captured(), 2)

		tx, err := b.db.BeginTx(b.Context(), nil)
		require.NoError(b, err)
		execOn(b, tx, up)
		for _, text := range []string{up, down} {
			_, err = strict.ExecContext(b.Context(), text)
			require.ErrorContains(b, err, "another session applies a pack")
		}
		require.NoError(b, tx.Rollback())
		execOn(b, strict, down, down)
		require.Empty(b, b.text(everything))
	})
}

// What PostgreSQL finds wrong is told in words, and nothing is done.
func TestAPackThatDoesNotFitDoesNothing(t *testing.T) {
	each(t, func(b *bench) {
		b.exec(contactsTable, `CREATE TABLE bare (a int)`, `CREATE VIEW seen AS SELECT 1 AS id`, `CREATE TABLE deals (id int PRIMARY KEY)`)
		before := b.text(everything)
		for what, c := range map[string]struct {
			tables []capture.Table
			text   string
		}{
			"no table":        {[]capture.Table{{Name: "nowhere", Kind: "x", Tenant: "m"}}, "there is no table nowhere"},
			"another schema":  {[]capture.Table{{Name: "app.contacts", Kind: "x", Tenant: "m"}}, "there is no table app.contacts"},
			"a view":          {[]capture.Table{{Name: "seen", Kind: "x", Tenant: "m", Key: []string{"id"}}}, "seen is no table"},
			"no primary key":  {[]capture.Table{{Name: "bare", Kind: "x", Tenant: "m"}}, "bare has no primary key"},
			"no key column":   {[]capture.Table{{Name: "bare", Kind: "x", Tenant: "m", Key: []string{"a", "B c"}}}, `bare has no column "B c"`},
			"system column":   {[]capture.Table{{Name: "bare", Kind: "x", Tenant: "m", Key: []string{"ctid"}}}, `bare has no column ctid`},
			"no tenant":       {[]capture.Table{{Name: "deals", Kind: "x", TenantColumn: "tenant"}}, "deals has no column tenant"},
			"nothing to skip": {[]capture.Table{{Name: "deals", Kind: "x", Tenant: "m", Skip: []string{"a", "b"}}}, "deals has no column a, b"},
			"twice":           {[]capture.Table{contacts(), {Name: "public.contacts", Kind: "x", Tenant: "m"}}, "is named twice"},
		} {
			up, _, err := capture.Pack(append([]capture.Table{{Name: "deals", Kind: "deal", Tenant: "main"}}, c.tables...)...)
			if what == "no tenant" || what == "nothing to skip" {
				up, _, err = capture.Pack(c.tables...)
			}
			require.NoError(b, err, what)
			_, err = b.db.ExecContext(b.Context(), up)
			require.ErrorContains(b, err, c.text, what)
			require.ErrorContains(b, err, "crmguard capture: ", what)
			require.Equal(b, before, b.text(everything), what)
		}

		_, err := b.db.ExecContext(b.Context(), `SELECT 1`)
		require.NoError(b, err)
		session := b.conn()
		up, _, err := capture.Pack(contacts())
		require.NoError(b, err)
		execOn(b, session, `SET search_path = nowhere`)
		_, err = session.ExecContext(b.Context(), up)
		require.ErrorContains(b, err, "names no schema")
	})
}

func TestATableThatTookTheNameOfAnother(t *testing.T) {
	one(t, func(b *bench) {
		b.exec(contactsTable)
		b.pack(contacts())
		b.exec(`ALTER TABLE contacts RENAME TO people`, contactsTable)
		up, down, err := capture.Pack(contacts())
		require.NoError(b, err)
		_, err = b.db.ExecContext(b.Context(), up)
		require.ErrorContains(b, err, "people was called contacts")
		b.exec(down)
		require.Empty(b, b.text(everything), "down finds the one that was renamed")
		people := contacts()
		people.Name = "people"
		b.pack(contacts(), people)
		b.exec(`INSERT INTO contacts (name) VALUES ('a')`, `INSERT INTO people (name) VALUES ('a')`)
		require.Len(b, b.captured(), 2)
	})
}

func TestEachSchemaHasCapturedRowsOfItsOwn(t *testing.T) {
	one(t, func(b *bench) {
		b.exec(`CREATE SCHEMA "Audit log"`, contactsTable)
		session := b.conn()
		execOn(b, session, `SET search_path = "Audit log", public`)
		up, down, err := capture.Pack(contacts())
		require.NoError(b, err)
		execOn(b, session, up)
		b.exec(`INSERT INTO contacts (name) VALUES ('a')`)
		require.Equal(b, "1", b.text(`SELECT count(*)::text FROM "Audit log".crmguard_audit_captured`))
		b.exec(`DELETE FROM "Audit log".crmguard_audit_captured`)
		execOn(b, session, down)
		require.Empty(b, b.text(everything))
	})
}
