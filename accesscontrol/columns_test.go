package accesscontrol_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/accesscontrol"
	"github.com/crmguard/crmguard/internal/testdb"
)

// groupedConfig is that of the native items, with fields that take more than
// Read: alone, in two groups, with masks and without.
func groupedConfig(name testdb.Name, policies string) accesscontrol.Config {
	config := nativeConfig(name, policies)
	schema := config.Texts["item.cedarschema"]
	config.Texts["item.cedarschema"] = strings.Replace(schema, "action read, write in", "action read, write, pii, peek, edit, pay in", 1)
	table := &config.Tables[0]
	masks := map[string]accesscontrol.Mask{
		"stage": accesscontrol.MaskEmail, "region": accesscontrol.MaskLast4, "amount": accesscontrol.MaskLast4, "due": accesscontrol.MaskYear,
		"flag": accesscontrol.MaskAll, "uid": accesscontrol.MaskAll, "small": accesscontrol.MaskAll, "kind": accesscontrol.MaskAll,
	}
	pii := accesscontrol.Group{Name: "pii", Action: "pii", Masked: "peek", Update: "edit", Fields: []string{"stage", "region", "score", "uid", "small"}}
	pay := accesscontrol.Group{Name: "pay", Action: "pay", Fields: []string{"amount", "region", "flag", "kind", "backup"}}
	for i, c := range table.Columns {
		table.Columns[i].Mask = masks[c.Attr]
		if c.Attr == "due" {
			pii.Fields = append(pii.Fields, c.Attr)
		}
	}
	table.Groups = []accesscontrol.Group{pii, pay}
	return config
}

// grouped spreads the policies of the generator over the actions of groups.
func (g generator) grouped() string {
	text := g.policies()
	for _, was := range []string{`action == Action::"read"`, `action in [Action::"read", Action::"write"]`} {
		parts := strings.Split(text, was)
		text = parts[0]
		for _, part := range parts[1:] {
			text += pick(g.Rand, []string{
				`action == Action::"read"`, `action in [Action::"read", Action::"pii"]`, `action in [Action::"read", Action::"pii", Action::"pay"]`,
				`action == Action::"pii"`, `action == Action::"pay"`, `action == Action::"peek"`, `action in [Action::"read", Action::"peek"]`, `action in [Action::"write", Action::"edit"]`,
			}) + part
		}
	}
	if g.IntN(2) == 0 {
		text += `@id("readers") permit (principal, action == Action::"read", resource);` + "\n"
	}
	return text
}

// The select list shows of each row what Redact shows of the record, and Fields
// says why; what CheckUse lets pass hides nothing in any row; and FilterUsing
// selects the rows that show the fields.
func TestColumnsEqualRedact(t *testing.T) {
	rounds := number(t, "CRMGUARD_COLUMN_ROUNDS", 30)
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		seed := number(t, "CRMGUARD_SEED", 20261128)
		g := generator{Rand: rand.New(rand.NewPCG(seed, uint64(slices.Index(testdb.Names(), d.Name)))), native: true, times: d.Name != testdb.SQLite}
		db := nativeDB(t, d, g, 60)
		records := nativeRecords(t, db, d.Name)
		seen := map[accesscontrol.Visibility]int{}
		var used, unused, needless, narrowed, differences int
		for sets := uint64(0); sets < rounds; {
			text := g.grouped()
			policy, err := accesscontrol.Load(t.Context(), groupedConfig(d.Name, text))
			if err != nil {
				require.Contains(t, err.Error(), "optional attribute", "the generator writes nothing else that is refused:\n%s", text)
				continue
			}
			if sets++; sets == 1 {
				require.NoError(t, policy.CheckSchema(t.Context(), db))
			}
			for _, principal := range nativePrincipals() {
				actor, err := policy.For(principal)
				require.NoError(t, err)
				list, err := actor.Columns(t.Context(), "item")
				require.NoError(t, err)
				rows := listed(t, db, d, list)
				for _, r := range records {
					shown, fields, err := actor.Redact(t.Context(), r)
					row, selected := rows[r.ID]
					require.Equal(t, selected, err == nil, "%v\n%s", err, text)
					if err != nil {
						require.ErrorIs(t, err, accesscontrol.ErrDenied)
						continue
					}
					for name, raw := range r.Attrs {
						got, v := row[name], min(fields[name], accesscontrol.Readable)
						seen[fields[name]]++
						want, is := shown.Attrs[name]
						same := is == (v > accesscontrol.Hidden) && equalText(got, want) && (!is || v == accesscontrol.Masked || equalText(raw, want))
						if said, grouped := row[name+"_visibility"]; grouped {
							same = same && equalText(said, int64(v))
						}
						if !same {
							differences++
							t.Errorf("%s is %s: %q, Redact %q, of %q (%v)\n%s", name, fields[name], got, want, raw, row[name+"_visibility"], text)
						}
					}
					require.Less(t, differences, 5)
				}
				for _, name := range []string{"stage", "region", "amount", "owner"} {
					hides := false
					where, err := actor.FilterUsing(t.Context(), "read", "item", name)
					require.NoError(t, err)
					require.Regexp(t, fixedText, first(rendered(d, where, "c")))
					bySQL, err := byWhere(t.Context(), db, d, where)
					require.NoError(t, err)
					values, err := byValue(t.Context(), db, d, where)
					require.NoError(t, err)
					for _, r := range records {
						fields, err := actor.Fields(t.Context(), r)
						require.NoError(t, err)
						_, selected := rows[r.ID]
						shows := selected && fields[name] >= accesscontrol.Readable
						hides = hides || selected && !shows
						require.Equal(t, shows, bySQL[r.ID], "%s\n%s", name, text)
						require.Equal(t, shows, values[r.ID].Bool, "%s\n%s", name, text)
					}
					switch err := actor.CheckUse(t.Context(), "item", name); {
					case err == nil:
						used++
						require.False(t, hides, "%s\n%s", name, text)
					case hides:
						unused++
						narrowed += len(bySQL)
					default:
						needless++ // the rows that would hide it are not there
					}
				}
			}
		}
		t.Logf("%v; used %d, not %d and %d times for rows that are not there, %d rows narrowed to", seen, used, unused, needless, narrowed)
		require.Greater(t, min(seen[accesscontrol.Hidden], seen[accesscontrol.Masked], seen[accesscontrol.Readable], seen[accesscontrol.Writable]), 300)
		require.Greater(t, min(used, unused, narrowed), 30)
	})
}

// listed reads a select list with its visibilities, by id and name.
func listed(t *testing.T, db querier, d testdb.Database, list accesscontrol.Columns) map[string]map[string]any {
	t.Helper()
	out := map[string]map[string]any{}
	list = list.WithVisibility()
	names, rows := queried(t, db, d, list, "items", "id")
	for _, row := range rows {
		by := map[string]any{}
		for i, name := range names {
			by[name] = row[i]
		}
		out[fmt.Sprint(spoken(by["id"]))] = by
	}
	return out
}

// equalText compares two spellings of a value: a text, and what a driver makes
// of a type.
func equalText(a, b any) bool {
	if a == nil || b == nil {
		return a == nil && b == nil
	}
	x, y := canonical(a), canonical(b)
	return x == y
}

func canonical(v any) string {
	switch v := spoken(v).(type) {
	case bool:
		return map[bool]string{true: "1", false: "0"}[v]
	case time.Time:
		return v.UTC().Format(time.RFC3339Nano)
	case string:
		for _, layout := range []string{"2006-01-02 15:04:05.999999-07", "2006-01-02 15:04:05.999999"} {
			if at, err := time.Parse(layout, v); err == nil {
				return at.UTC().Format(time.RFC3339Nano)
			}
		}
		switch v {
		case "\x00", "false":
			return "0"
		case "\x01", "true":
			return "1"
		}
		return v
	case int64:
		return strconv.FormatInt(v, 10)
	default:
		return fmt.Sprint(v)
	}
}
