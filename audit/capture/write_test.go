package capture_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/audit/capture"
)

func TestEachKindOfWriteIsCaptured(t *testing.T) {
	each(t, func(b *bench) {
		b.exec(contactsTable)
		b.pack(contacts())
		row := func(op, key string, cols ...string) said { return said{op, "contacts", "contact", "main", key, cols} }

		b.exec(`INSERT INTO contacts (name) VALUES ('a'), ('b')`)
		require.Equal(b, []said{row("i", "1"), row("i", "2")}, b.captured())

		b.exec(`UPDATE contacts SET name = 'c', email = 'd' WHERE id = 1`)
		require.Equal(b, []said{row("u", "1", "name", "email")}, b.captured())

		b.exec(`UPDATE contacts SET name = name`, `UPDATE contacts SET updated = now() + interval '1 hour'`)
		require.Empty(b, b.captured(), "nothing changed, or what is skipped")

		b.exec(`INSERT INTO contacts (id, name) OVERRIDING SYSTEM VALUE VALUES (1, 'e'), (7, 'e')
			ON CONFLICT (id) DO UPDATE SET name = excluded.name`)
		require.Equal(b, []said{row("u", "1", "name"), row("i", "7")}, b.captured())

		if b.text(`SELECT (current_setting('server_version_num')::int >= 150000)::text`) == "true" {
			b.exec(`MERGE INTO contacts c USING (VALUES (1, 'f'), (2, NULL), (8, 'g')) v (id, name) ON c.id = v.id
				WHEN MATCHED AND v.name IS NULL THEN DELETE
				WHEN MATCHED THEN UPDATE SET name = v.name
				WHEN NOT MATCHED THEN INSERT (id, name) OVERRIDING SYSTEM VALUE VALUES (v.id, v.name)`)
			require.ElementsMatch(b, []said{row("u", "1", "name"), row("d", "2"), row("i", "8")}, b.captured())
		}

		b.exec(`UPDATE contacts SET email = NULL WHERE id = 1`)
		require.Equal(b, []said{row("u", "1", "email")}, b.captured(), "to NULL")
		b.exec(`UPDATE contacts SET email = '' WHERE id = 1`)
		require.Equal(b, []said{row("u", "1", "email")}, b.captured(), "from NULL to what is empty")

		b.exec(`DELETE FROM contacts WHERE id = 7`)
		require.Equal(b, []said{row("d", "7")}, b.captured())
		b.exec(`TRUNCATE contacts`)
		require.Equal(b, []said{{Op: "t", Table: "contacts", Kind: "contact"}}, b.captured())
	})
}

func TestCopyAndCascadesAreCaptured(t *testing.T) {
	each(t, func(b *bench) {
		b.exec(`CREATE TABLE accounts (id int PRIMARY KEY)`,
			`CREATE TABLE deals (id int PRIMARY KEY, account int REFERENCES accounts ON DELETE CASCADE ON UPDATE CASCADE)`,
			`CREATE TABLE calls (id int PRIMARY KEY, deal int REFERENCES deals ON DELETE SET NULL)`)
		b.pack(capture.Table{Name: "deals", Kind: "deal", Tenant: "main"}, capture.Table{Name: "calls", Kind: "call", Tenant: "main"})
		b.exec(`INSERT INTO accounts VALUES (1), (2)`, `INSERT INTO deals VALUES (1, 1), (2, 2)`, `INSERT INTO calls VALUES (1, 1)`)
		b.captured()

		b.exec(`UPDATE accounts SET id = 3 WHERE id = 2`)
		require.Equal(b, []said{{"u", "deals", "deal", "main", "2", []string{"account"}}}, b.captured())
		b.exec(`DELETE FROM accounts WHERE id = 1`)
		require.ElementsMatch(b, []said{{"d", "deals", "deal", "main", "1", nil}, {"u", "calls", "call", "main", "1", []string{"deal"}}}, b.captured())
		b.exec(`TRUNCATE accounts CASCADE`)
		require.ElementsMatch(b, []said{{Op: "t", Table: "deals", Kind: "deal"}, {Op: "t", Table: "calls", Kind: "call"}}, b.captured())

		b.copyFrom("deals", 3)
		require.Equal(b, []said{{"i", "deals", "deal", "main", "3", nil}}, b.captured())
	})
}

// No value of a row is written down but its key and its tenant.
func TestNoValueIsWrittenDown(t *testing.T) {
	one(t, func(b *bench) {
		b.exec(`CREATE TABLE contacts (id text PRIMARY KEY, tenant text, name text, data jsonb, born date, secret bytea, list text[])`)
		b.pack(contactsWithout())
		b.exec(`INSERT INTO contacts VALUES ('k1', 'main', 'canary', '{"a":"canary"}', '1999-09-09', 'canary', ARRAY['canary'])`,
			`UPDATE contacts SET name = 'canary2', data = '{"a":"canary2"}', born = '1999-09-10', secret = 'canary2', list = ARRAY['canary2']`,
			`ALTER TABLE contacts ADD COLUMN later text`, `UPDATE contacts SET later = 'canary3'`, `DELETE FROM contacts`)
		written := b.text(`SELECT string_agg(c::text, '') FROM crmguard_audit_captured c`)
		require.Contains(b, written, "k1")
		require.Contains(b, written, "later", "the name of the column")
		for _, canary := range []string{"canary", "1999", "63616e617279", "\\x"} {
			require.NotContains(b, written, canary)
		}
		require.Equal(b, 4, strings.Count(written, "k1"))
	})
}

func contactsWithout() capture.Table {
	return capture.Table{Name: "contacts", Kind: "contact", TenantColumn: "tenant"}
}

func TestARowThatMovesIsCapturedUnderBothNames(t *testing.T) {
	one(t, func(b *bench) {
		b.exec(contactsTable)
		b.pack(contacts())
		b.exec(`INSERT INTO contacts (name) VALUES ('a')`)
		b.captured()
		b.exec(`UPDATE contacts SET id = DEFAULT, name = 'b'`)
		require.Equal(b, []said{
			{"u", "contacts", "contact", "main", "1", []string{"id", "name"}}, {"u", "contacts", "contact", "main", "2", []string{"id", "name"}},
		}, b.captured(), "to another key")
		b.exec(`UPDATE contacts SET tenant = 'other'`)
		require.Equal(b, []said{
			{"u", "contacts", "contact", "main", "2", []string{"tenant"}}, {"u", "contacts", "contact", "other", "2", []string{"tenant"}},
		}, b.captured(), "to another tenant")
	})
}

// What changed is told by bytes: what a type takes for equal may be another
// value, and some types cannot compare.
func TestWhatChangedIsToldByBytes(t *testing.T) {
	one(t, func(b *bench) {
		b.exec(`CREATE EXTENSION IF NOT EXISTS citext`, `CREATE COLLATION blind (provider = icu, locale = 'und-u-ks-level2', deterministic = false)`)
		for _, c := range []struct{ kind, was, is string }{
			{"citext", `'a@b.example'`, `'A@b.example'`},
			{"text COLLATE blind", `'Ann'`, `'ann'`},
			{"varchar(9) COLLATE blind", `'Ann'`, `'ann'`},
			{"numeric", `1.0`, `1.00`},
			{"float8", `0`, `'-0'`},
			{"json", `'{"a":1}'`, `'{"a": 1}'`},
			{"xml", `'<a/>'`, `'<b/>'`},
			{"point", `'(1,2)'`, `'(1,3)'`},
			{"char(5)", `'a'`, `'b'`},
			{"text", `'a'`, `'a '`},
			{"text", `''`, `NULL`},
			{"text", `repeat('x', 100000)`, `repeat('x', 99999) || 'y'`},
			{"bytea", `'\x00'`, `'\x0000'`},
			{"int4range", `'[1,2)'`, `'[1,3)'`},
			{"text[]", `'{a,b}'`, `'{a,c}'`},
			{"interval", `'1 day'`, `'24 hours'`},
			{"timestamptz", `'2026-01-01 00:00+00'`, `'2026-01-01 00:00:00.000001+00'`},
			{"uuid", `'00000000-0000-0000-0000-000000000001'`, `'00000000-0000-0000-0000-000000000002'`},
		} {
			b.exec(`DROP TABLE IF EXISTS things`, `CREATE TABLE things (id int PRIMARY KEY, value `+c.kind+`, other text)`)
			b.pack(capture.Table{Name: "things", Kind: "thing", Tenant: "main"})
			b.exec(`INSERT INTO things VALUES (1, ` + c.was + `, 'x')`)
			b.captured()
			b.exec(`UPDATE things SET value = ` + c.is)
			require.Equal(b, []said{{"u", "things", "thing", "main", "1", []string{"value"}}}, b.captured(), c.kind)
			b.exec(`UPDATE things SET value = value, other = 'y'`)
			require.Equal(b, []said{{"u", "things", "thing", "main", "1", []string{"other"}}}, b.captured(), "%s stayed", c.kind)
		}
	})
}

func TestGeneratedColumnsAndDefaultsAreNamedWhereTheyChange(t *testing.T) {
	one(t, func(b *bench) {
		b.exec(`CREATE TABLE things (id bigserial PRIMARY KEY, price numeric DEFAULT 1, gross numeric GENERATED ALWAYS AS (price * 2) STORED, rounded int GENERATED ALWAYS AS (round(price)) STORED)`,
			`CREATE FUNCTION dear() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.price := NEW.price + 10; RETURN NEW; END'`,
			`CREATE TRIGGER zz BEFORE UPDATE ON things FOR EACH ROW WHEN (NEW.price > 5) EXECUTE FUNCTION dear()`)
		b.pack(capture.Table{Name: "things", Kind: "thing", Tenant: "main"})
		b.exec(`INSERT INTO things DEFAULT VALUES`)
		b.captured()
		b.exec(`UPDATE things SET price = 1.1`)
		require.Equal(b, []string{"price", "gross"}, b.captured()[0].Cols, "what is computed to the same has not changed")
		b.exec(`UPDATE things SET id = id, price = 6`)
		require.Equal(b, []string{"price", "gross", "rounded"}, b.captured()[0].Cols, "what another trigger made of it counts")
	})
}
