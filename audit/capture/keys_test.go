package capture_test

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/audit/capture"
)

func TestARowIsNamedByItsKeyWhateverItsType(t *testing.T) {
	each(t, func(b *bench) {
		b.exec(`CREATE EXTENSION IF NOT EXISTS citext`, `CREATE TYPE stage AS ENUM ('lead', 'Won/lost')`, `CREATE DOMAIN code AS varchar(20)`, `CREATE DOMAIN day AS date`, `CREATE DOMAIN letter AS char(4)`, `CREATE DOMAIN flag AS letter`)
		for _, c := range []struct{ kind, value, name string }{
			{"bigint", `-9223372036854775808`, "-9223372036854775808"},
			{"smallint", `7`, "7"},
			{"uuid", `'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'`, "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"},
			{"stage", `'Won/lost'`, "Won/lost"},
			{"citext", `'ANN'`, "ANN"},
			{"text", `' a%2Fb/ü '`, " a%2Fb/ü "},
			{"code", `'x'`, "x"},
			{"char(3)", `'x'`, "x"},
			{"char(3)", `''`, ""},
			{"flag", `'x'`, "x"},
			{"text", `'x '`, "x "},
			{"bytea", `'\x00ff'`, `\x00ff`},
			{"numeric", `1.50`, "1.50"},
			{"boolean", `true`, "t"},
			{"date", `'2026-02-03'`, "2026-02-03"},
			{"day", `'2026-02-03'`, "2026-02-03"},
			{"timestamptz", `'2026-02-03 04:05:06.000007+02'`, "2026-02-03 02:05:06.000007+00"},
			{"float8", `0.1`, "0.1"},
			{"interval", `'26 hours'`, "PT26H"},
			{"text", `''`, ""},
			{"text", `repeat('x', 255)`, strings.Repeat("x", 255)},
			{"text", `repeat('x', 256)`, ""},
			{"text", `repeat('ä', 128)`, ""},
		} {
			b.exec(`DROP TABLE IF EXISTS things`, `CREATE TABLE things (id `+c.kind+` PRIMARY KEY, v int)`)
			b.pack(capture.Table{Name: "things", Kind: "thing", Tenant: "main"})
			session := b.conn() // with all that could make another text of it
			execOn(b, session, `SET DateStyle = 'SQL, DMY'`, `SET TimeZone = 'Asia/Kathmandu'`, `SET IntervalStyle = 'postgres_verbose'`, `SET extra_float_digits = -10`, `SET bytea_output = 'escape'`)
			b.exec(`INSERT INTO things VALUES (` + c.value + `, 1)`)
			execOn(b, session, `UPDATE things SET v = 2`, `DELETE FROM things`)
			require.NoError(b, session.Close())
			require.Equal(b, []said{
				{"i", "things", "thing", "main", c.name, nil}, {"u", "things", "thing", "main", c.name, []string{"v"}}, {"d", "things", "thing", "main", c.name, nil},
			}, b.captured(), "%s %s", c.kind, c.value)
		}
	})
}

func TestAKeyOfSeveralColumnsIsOneName(t *testing.T) {
	one(t, func(b *bench) {
		b.exec(`CREATE TABLE things (a text, b int, c text, v int, UNIQUE (a, b, c))`)
		table := capture.Table{Name: "things", Kind: "thing", Tenant: "main", Key: []string{"a", "b", "c"}}
		b.pack(table)
		names := map[string]bool{}
		for values, name := range map[string]string{
			`'a', 1, 'c'`: "a/1/c", `'a/1', 1, ''`: "a%2F1/1/", `'a', 1, '1/'`: "a/1/1%2F", `'%2F', 2, '/'`: "%252F/2/%2F", `'', 0, ''`: "/0/",
			`NULL, 1, 'c'`: "", `'a', NULL, 'c'`: "",
		} {
			b.exec(`INSERT INTO things VALUES (` + values + `, 1)`)
			got := b.captured()
			require.Equal(b, []said{{"i", "things", "thing", "main", name, nil}}, got)
			require.False(b, names[name] && name != "", "two rows have one name: %s", name)
			names[name] = true
		}
		b.exec(`DELETE FROM things`)
		b.captured()

		table.Key = []string{"c", "a"}
		b.pack(table)
		b.exec(`INSERT INTO things VALUES ('a', 1, 'c', 1)`)
		require.Equal(b, "c/a", b.captured()[0].Key, "in the order in which they were named")
	})
}

func TestThePrimaryKeyIsTheKeyUnlessAnotherIsNamed(t *testing.T) {
	one(t, func(b *bench) {
		b.exec(`CREATE TABLE things (b int, a int, v int, PRIMARY KEY (a, b) INCLUDE (v))`)
		b.pack(capture.Table{Name: "things", Kind: "thing", Tenant: "main"})
		b.exec(`INSERT INTO things VALUES (2, 1, 3)`)
		require.Equal(b, "1/2", b.captured()[0].Key, "in the order of the key, without what its index includes")
	})
}

func TestTheTenantIsAConstantOrAColumnOfAnyType(t *testing.T) {
	one(t, func(b *bench) {
		b.exec(`CREATE TABLE things (id int PRIMARY KEY, org uuid)`)
		b.pack(capture.Table{Name: "things", Kind: "thing", TenantColumn: "org"})
		b.exec(`INSERT INTO things VALUES (1, 'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'), (2, NULL)`)
		require.Equal(b, []said{{"i", "things", "thing", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "1", nil}, {"i", "things", "thing", "", "2", nil}}, b.captured())
		b.pack(capture.Table{Name: "things", Kind: "thing", Tenant: `it's \ "main"`})
		b.exec(`UPDATE things SET org = NULL WHERE id = 1`)
		require.Equal(b, []said{{"u", "things", "thing", `it's \ "main"`, "1", []string{"org"}}}, b.captured())
	})
}

// Names are the application's, and some are made to break what quotes them.
func TestNamesAreQuoted(t *testing.T) {
	each(t, func(b *bench) {
		odd := []string{
			`select`, `a b`, `q"uote`, `apos'trophe`, `back\slash`, `dot.ted`, `$1`, `%1$I`, `%s`, `$body$`, `/* tables */`, `{}`, `Ünï`, `x'); DROP TABLE victim; --`,
			`OLD`, `changed`, `was_key`, `tx`, strings.Repeat("ä", 31) + "z", "new\nline", "$$",
		}
		quote := func(s string) string { return `"` + strings.ReplaceAll(s, `"`, `""`) + `"` }
		short := func(with, s string) string { // as odd and as long
			_, last := utf8.DecodeLastRuneInString(s)
			return with + s[:len(s)-last]
		}
		b.exec(`CREATE TABLE victim ()`, `CREATE SCHEMA "S'ch\ema ""1"""`)
		for _, strict := range []string{"on", "off"} {
			for _, name := range odd {
				if strict == "off" && !strings.ContainsAny(name, `\'$`) {
					continue // the schema has both in its name anyway
				}
				table := `"S'ch\ema ""1""".` + quote(strings.ReplaceAll(name, ".", ""))
				b.exec(`DROP TABLE IF EXISTS `+table, `CREATE TABLE `+table+` (`+quote(name)+` text, `+quote(short("t", name))+` text, `+quote(short("v", name))+` json, skip int, PRIMARY KEY (`+quote(name)+`))`)
				session := b.conn()
				execOn(b, session, `SET standard_conforming_strings = `+strict)
				label := `S'ch\ema "1".` + strings.ReplaceAll(name, ".", "")
				up, down, err := capture.Pack(capture.Table{Name: label, Kind: "thing", Key: []string{name}, TenantColumn: short("t", name), Skip: []string{"skip"}})
				require.NoError(b, err, name)
				execOn(b, session, up, up, `INSERT INTO `+table+` VALUES ('k', 'main', '1', 1)`, `UPDATE `+table+` SET `+quote(short("v", name))+` = '2'`, `UPDATE `+table+` SET skip = 2`)
				require.Equal(b, []said{{"i", label, "thing", "main", "k", nil}, {"u", label, "thing", "main", "k", []string{short("v", name)}}}, b.captured(), name)
				execOn(b, session, `ALTER TABLE `+table+` ADD COLUMN later int`, `UPDATE `+table+` SET later = 2`)
				require.Equal(b, []said{{"u", label, "thing", "main", "k", []string{"later"}}}, b.captured(), "%s, the slow way", name)
				execOn(b, session, down)
				require.NoError(b, session.Close())
			}
		}
		require.Equal(b, "victim", b.text(`SELECT to_regclass('victim')::text`))
	})
}
