package accesscontrol_test

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/accesscontrol"
	"github.com/crmguard/crmguard/internal/testdb"
)

// hostileFile reads a file of the corpus of hostile filters: conditions in CEL
// and rows that filters of other engines have got wrong.
func hostileFile(t *testing.T, name string) []byte {
	t.Helper()
	dir := os.Getenv("CRMGUARD_TESTDATA")
	if dir == "" {
		t.Skip("CRMGUARD_TESTDATA is not set: the hostile filters of others are not asked")
	}
	data, err := os.ReadFile(filepath.Join(dir, "filter-corpus", name))
	require.NoError(t, err)
	return data
}

// hostileSeed is a row of the corpus, with the columns derived from it.
type hostileSeed struct {
	ID              string  `json:"id"`
	ABool           bool    `json:"aBool"`
	AString         string  `json:"aString"`
	ANumber         int64   `json:"aNumber"`
	AOptionalString *string `json:"aOptionalString"`
	Parent          *string `json:"parentSeedId"`
	Tags            []struct {
		ID   string  `json:"id"`
		Name *string `json:"name"`
	} `json:"tags"`
	hostileDerived

	parent *hostileSeed // nil is none
}

type hostileDerived struct {
	CreatedBy time.Time  `json:"createdBy"`
	CreatedAt *time.Time `json:"createdAt"`
	Scope     *string    `json:"scope"`
}

func hostileSeeds(t *testing.T) (seeds []hostileSeed, principal accesscontrol.Principal) {
	t.Helper()
	var file struct {
		Principal struct {
			ID   string         `json:"id"`
			Attr map[string]any `json:"attr"`
		} `json:"principal"`
		Seeds []hostileSeed `json:"seeds"`
	}
	var derived struct {
		Derived map[string]hostileDerived `json:"derived"`
	}
	require.NoError(t, json.Unmarshal(hostileFile(t, "seeds.json"), &file))
	require.NoError(t, json.Unmarshal(hostileFile(t, "derived-fields.json"), &derived))
	for i := range file.Seeds {
		file.Seeds[i].hostileDerived = derived.Derived[file.Seeds[i].ID]
		if of := file.Seeds[i].Parent; of != nil {
			file.Seeds[i].parent = &file.Seeds[slices.IndexFunc(file.Seeds, func(s hostileSeed) bool { return s.ID == *of })]
		}
	}
	require.Len(t, file.Seeds, 21)
	attrs := map[string]any{"none": []string{}, "allowedTags": file.Principal.Attr["allowedTags"], "fewTeams": file.Principal.Attr["fewTeams"], "manyTeams": file.Principal.Attr["manyTeams"]}
	return file.Seeds, accesscontrol.Principal{
		Type: "User", ID: file.Principal.ID, Tenant: "main", Attrs: attrs,
		Context: map[string]any{"now": time.Date(2026, 11, 28, 0, 0, 0, 0, time.UTC)},
	}
}

// hostileConfig asks each condition under an action of its name, and as a
// forbid under another.
func hostileConfig(name testdb.Name, rules map[string]string) accesscontrol.Config {
	var schema, policies strings.Builder
	schema.WriteString(`entity User = { none: Set<String>, allowedTags: Set<String>, fewTeams: Set<String>, manyTeams: Set<String> };
entity Hostile = { aBool: Bool, aString: String, aNumber: Long, aOptionalString?: String, owner?: String, coOwner?: String, scope?: String, obj?: { inner: String }, createdBy: datetime, createdAt?: datetime, parent?: Parent, tagNames: Set<String>, tagIds: Set<String> };
entity Parent = { aBool: Bool, aString: String, aNumber: Long, aOptionalString?: String, inner?: Parent };
`)
	for _, action := range slices.Sorted(maps.Keys(rules)) {
		schema.WriteString(`action "` + action + `", "not ` + action + `" appliesTo { principal: User, resource: Hostile, context: { now: datetime } };` + "\n")
		policies.WriteString(`@id("` + action + `") permit (principal, action == Action::"` + action + `", resource) when { ` + rules[action] + " };\n")
		policies.WriteString(`@id("all-` + action + `") permit (principal, action == Action::"not ` + action + `", resource);` + "\n")
		policies.WriteString(`@id("not-` + action + `") forbid (principal, action == Action::"not ` + action + `", resource) when { ` + rules[action] + " };\n")
	}
	as := accesscontrol.Timestamp
	if name == testdb.SQLite {
		as = ""
	}
	return accesscontrol.Config{
		Texts: map[string]string{"h.cedarschema": schema.String(), "h.cedar": policies.String()},
		Tables: []accesscontrol.Table{{
			Resource: "hostile", Entity: "Hostile", Name: "hostile", Key: "id", Tenant: "tenant",
			Columns: []accesscontrol.Column{
				{Attr: "aBool", Name: "a_bool", Required: true},
				{Attr: "aString", Name: "a_string", Required: true, Like: true},
				{Attr: "aNumber", Name: "a_number", Required: true},
				{Attr: "aOptionalString", Name: "a_optional_string"},
				{Attr: "owner", Name: "a_optional_string"},
				{Attr: "coOwner", Name: "a_optional_string"},
				{Attr: "scope", Like: true},
				{Attr: "obj"},
				{Attr: "createdBy", Name: "created_by", Required: true, As: as},
				{Attr: "createdAt", Name: "created_at", As: as},
				{Attr: "parent", Join: true},
			},
			Sets: []accesscontrol.Set{
				{Attr: "tagNames", Steps: []accesscontrol.Step{{Name: "tags", OnlyTenant: "main", Match: "hostile", Value: "name"}}},
				{Attr: "tagIds", Steps: []accesscontrol.Step{{Name: "tags", OnlyTenant: "main", Match: "hostile", Value: "id"}}},
			},
		}, {
			Resource: "parent", Entity: "Parent", Name: "parents", Key: "id", OnlyTenant: "main",
			Columns: []accesscontrol.Column{
				{Attr: "aBool", Name: "a_bool", Required: true},
				{Attr: "aString", Name: "a_string", Required: true, Like: true},
				{Attr: "aNumber", Name: "a_number", Required: true},
				{Attr: "aOptionalString", Name: "a_optional_string"},
				{Attr: "inner", Name: "inside", Join: true},
			},
		}},
	}
}

var hostileDDL = map[testdb.Name]string{
	testdb.SQLite:    "CREATE TABLE hostile (id TEXT PRIMARY KEY, tenant TEXT NOT NULL, a_bool INTEGER NOT NULL, a_string TEXT COLLATE NOCASE NOT NULL, a_number INTEGER NOT NULL, a_optional_string TEXT COLLATE NOCASE, scope TEXT COLLATE NOCASE, obj TEXT, created_by TEXT NOT NULL, created_at TEXT, parent TEXT) STRICT; CREATE TABLE parents (id TEXT PRIMARY KEY, a_bool INTEGER NOT NULL, a_string TEXT COLLATE NOCASE NOT NULL, a_number INTEGER NOT NULL, a_optional_string TEXT, inside TEXT) STRICT; CREATE TABLE tags (hostile TEXT, id TEXT, name TEXT COLLATE NOCASE) STRICT; CREATE INDEX tagged ON tags (hostile)",
	testdb.PostgresC: "CREATE TABLE hostile (id text PRIMARY KEY, tenant text NOT NULL, a_bool boolean NOT NULL, a_string text NOT NULL, a_number bigint NOT NULL, a_optional_string text, scope text, obj jsonb, created_by timestamptz NOT NULL, created_at timestamptz, parent text); CREATE TABLE parents (id text PRIMARY KEY, a_bool boolean NOT NULL, a_string text NOT NULL, a_number bigint NOT NULL, a_optional_string text, inside text); CREATE TABLE tags (hostile text, id text, name text); CREATE INDEX tagged ON tags (hostile)",
	testdb.MariaDB:   "CREATE TABLE hostile (id VARCHAR(20) PRIMARY KEY, tenant VARCHAR(20) NOT NULL, a_bool BOOLEAN NOT NULL, a_string VARCHAR(99) COLLATE utf8mb4_general_ci NOT NULL, a_number BIGINT NOT NULL, a_optional_string VARCHAR(99) COLLATE utf8mb4_general_ci, scope TEXT COLLATE utf8mb4_unicode_ci, obj JSON, created_by DATETIME(6) NOT NULL, created_at DATETIME(6), parent VARCHAR(20)); CREATE TABLE parents (id VARCHAR(20) PRIMARY KEY, a_bool BOOLEAN NOT NULL, a_string VARCHAR(99) COLLATE utf8mb4_general_ci NOT NULL, a_number BIGINT NOT NULL, a_optional_string VARCHAR(99), inside VARCHAR(20)); CREATE TABLE tags (hostile VARCHAR(20), id VARCHAR(20), name VARCHAR(99) COLLATE utf8mb4_general_ci); CREATE INDEX tagged ON tags (hostile)",
}

// Each action of the corpus is said, refused, or listed with the reason why it
// cannot be said; none is forgotten.
func TestHostileFiltersAreAllAccountedFor(t *testing.T) {
	var known []string
	for _, rules := range []map[string]string{hostileSaid, hostileBehind, hostileTimes, hostileRefused} {
		known = slices.AppendSeq(known, maps.Keys(rules))
	}
	unsaid := map[string]int{}
	for reason, actions := range hostileUnsaid {
		known, unsaid[reason] = append(known, actions...), len(actions)
	}
	slices.Sort(known)
	require.Equal(t, []int{72, 31, 6, 6}, []int{len(hostileSaid), len(hostileBehind), len(hostileTimes), len(hostileRefused)})
	require.Equal(t, map[string]int{
		"relation": 20, "count": 10, "length": 3, "fraction": 5, "division": 14, "concat": 1, "pattern": 10, "regexp": 1, "cast": 5, "place": 3, "null": 4, "id": 5, "condition": 3,
	}, unsaid)
	var actions []string
	for _, found := range regexp.MustCompile(`actions: \["([^"]+)"\]`).FindAllSubmatch(hostileFile(t, "adversarial.yaml"), -1) {
		actions = append(actions, string(found[1]))
	}
	slices.Sort(actions)
	require.Equal(t, actions, known)
}

// On the rows of the corpus each condition selects in the database what a check
// permits and Cedar does, as a permit and as a forbid, whether an absent
// attribute is left out or given as NULL.
func TestHostileFiltersEqualChecks(t *testing.T) {
	seeds, principal := hostileSeeds(t)
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		rules := maps.Clone(hostileSaid)
		maps.Copy(rules, hostileBehind)
		if d.Name != testdb.SQLite {
			maps.Copy(rules, hostileTimes)
		}
		policy, err := accesscontrol.Load(t.Context(), hostileConfig(d.Name, rules))
		require.NoError(t, err)
		db := d.Open(t)
		ddl, places := hostileDDL[d.Name], "?, 'main', ?, ?, ?, ?, ?, ?, ?, ?"
		if d.Name == testdb.PostgresC || d.Name == testdb.PostgresICU {
			ddl, places = hostileDDL[testdb.PostgresC], "$1, 'main', $2, $3, $4, $5, $6, $7, $8, $9"
		}
		exec := func(query string, args ...any) {
			if strings.HasPrefix(string(d.Name), "postgres") {
				for i := range args {
					query = strings.Replace(query, "?", "$"+strconv.Itoa(i+1), 1)
				}
			}
			_, err := db.ExecContext(t.Context(), query, args...)
			require.NoError(t, err, query)
		}
		for statement := range strings.SplitSeq(ddl, "; ") {
			exec(statement)
		}
		for _, s := range seeds {
			var at any
			if s.CreatedAt != nil {
				at = s.CreatedAt.Format("2006-01-02 15:04:05.000000")
			}
			_, err = db.ExecContext(t.Context(), "INSERT INTO hostile (id, tenant, a_bool, a_string, a_number, a_optional_string, scope, created_by, created_at, parent) VALUES ("+places+")",
				s.ID, s.ABool, s.AString, s.ANumber, s.AOptionalString, s.Scope, s.CreatedBy.Format("2006-01-02 15:04:05.000000"), at, s.refers("p"))
			require.NoError(t, err)
			for _, tag := range s.Tags {
				exec("INSERT INTO tags VALUES (?, ?, ?)", s.ID, tag.ID, tag.Name)
			}
			if p := s.parent; p != nil { // rows of its own, as the corpus wants
				exec("INSERT INTO parents VALUES (?, ?, ?, ?, ?, ?)", s.refers("p"), p.ABool, p.AString, p.ANumber, p.AOptionalString, p.refers("q"+s.ID))
				if q := p.parent; q != nil {
					exec("INSERT INTO parents VALUES (?, ?, ?, ?, ?, NULL)", p.refers("q"+s.ID), q.ABool, q.AString, q.ANumber, q.AOptionalString)
				}
			}
		}
		if d.Name != testdb.SQLite { // which has no times
			require.NoError(t, policy.CheckSchema(t.Context(), db))
		}
		some := 0
		for action := range rules {
			for _, action := range []string{action, "not " + action} {
				where, err := policy.Filter(t.Context(), principal, action, "hostile")
				require.NoError(t, err)
				var want []string
				for _, s := range seeds {
					given, omitted := s.record()
					for _, record := range []accesscontrol.Resource{given, omitted} {
						request := accesscontrol.Request{Principal: principal, Action: action, Resource: record}
						byCedar, err := policy.Cedar(t.Context(), request)
						require.NoError(t, err)
						decided, err := policy.Decide(t.Context(), request)
						require.NoError(t, err)
						require.Equal(t, byCedar.Allowed, decided.Allowed, "%s of %s", action, s.ID)
						if record := decided.Allowed; record && !slices.Contains(want, s.ID) {
							want = append(want, s.ID)
						} else if slices.Contains(want, s.ID) {
							require.True(t, record, "%s of %s: NULL and absent are the same", action, s.ID)
						}
					}
				}
				slices.Sort(want)
				if len(want) > 0 && len(want) < len(seeds) {
					some++
				}
				for _, where := range []accesscontrol.Where{where, where.Value()} {
					condition, args := rendered(d, where, "h")
					require.Equal(t, want, deals(t, db, "SELECT id FROM hostile h WHERE "+condition, args...), "%s: %s", action, condition)
				}
			}
		}
		require.Greater(t, some, len(rules)*2*8/10, "filters that select some rows and not all")
	})
}

// refers is the id of the parent's row, NULL where there is none.
func (s hostileSeed) refers(to string) any {
	if s.parent == nil {
		return nil
	}
	return to + s.ID
}

// behind are the record that a seed refers to, and the one that this does.
func (s hostileSeed) behind(attr, to string) map[string]accesscontrol.Resource {
	if s.parent == nil {
		return nil
	}
	p := s.parent
	r := accesscontrol.Resource{Type: "parent", ID: to + s.ID, Tenant: "main", Attrs: map[string]any{"aBool": p.ABool, "aString": p.AString, "aNumber": p.ANumber, "aOptionalString": p.AOptionalString}}
	if attr == "parent" {
		r.Attrs["inner"] = p.refers("q" + s.ID)
		r.Related = p.behind("inner", "q"+s.ID)
	}
	return map[string]accesscontrol.Resource{attr: r}
}

// record is a seed with NULLs, and without what is NULL.
func (s hostileSeed) record() (given, omitted accesscontrol.Resource) {
	attrs := map[string]any{
		"aBool": s.ABool, "aString": s.AString, "aNumber": s.ANumber, "aOptionalString": s.AOptionalString, "owner": s.AOptionalString, "coOwner": s.AOptionalString,
		"scope": s.Scope, "obj": nil, "createdBy": s.CreatedBy, "createdAt": s.CreatedAt,
		"parent": s.refers("p"),
	}
	names, ids := []string{}, []string{}
	for _, tag := range s.Tags {
		if ids = append(ids, tag.ID); tag.Name != nil {
			names = append(names, *tag.Name)
		}
	}
	attrs["tagNames"], attrs["tagIds"] = names, ids
	given = accesscontrol.Resource{Type: "hostile", ID: s.ID, Tenant: "main", Attrs: attrs, Related: s.behind("parent", "p")}
	omitted = given
	omitted.Attrs = maps.Clone(attrs)
	if s.AOptionalString == nil {
		delete(omitted.Attrs, "aOptionalString")
		delete(omitted.Attrs, "owner")
		delete(omitted.Attrs, "coOwner")
	}
	maps.DeleteFunc(omitted.Attrs, func(name string, _ any) bool {
		return name == "obj" || name == "parent" && s.parent == nil || name == "scope" && s.Scope == nil || name == "createdAt" && s.CreatedAt == nil
	})
	return given, omitted
}

// What Cedar says and SQL cannot is refused when it is loaded; so is a time in
// SQLite.
func TestHostileFiltersThatAreRefused(t *testing.T) {
	for action, rule := range hostileRefused {
		_, err := accesscontrol.Load(t.Context(), hostileConfig(testdb.PostgresC, map[string]string{action: rule}))
		require.ErrorIs(t, err, accesscontrol.ErrPolicy, action)
		require.ErrorContains(t, err, "cannot become SQL", action)
	}
	for action, rule := range hostileTimes {
		_, err := accesscontrol.Load(t.Context(), hostileConfig(testdb.SQLite, map[string]string{action: rule}))
		require.ErrorContains(t, err, "set Column.As to Timestamp", action)
	}
}
