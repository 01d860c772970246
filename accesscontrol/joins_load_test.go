package accesscontrol_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/accesscontrol"
	"github.com/crmguard/crmguard/internal/testdb"
)

// What cannot be joined is refused at load, with what to do.
func TestJoinsThatAreRefused(t *testing.T) {
	permit := func(condition string) string {
		return `@id("p") permit (principal, action, resource is Contact) when { resource has account && ` + condition + ` };`
	}
	deep := func(n int) string {
		path, guards := "resource.account", []string{}
		for range n {
			guards = append(guards, path+" has parent")
			path += ".parent"
		}
		return strings.Join(append(guards, path+".owner == principal"), " && ")
	}
	var long strings.Builder // each || writes what is left of it twice
	long.WriteString("resource.account.owner == principal")
	for range 40 {
		fmt.Fprintf(&long, " || (resource.account.owner != principal && %s)", "resource.account.owner == resource.owner")
	}
	nested := "resource.account.owner == principal"
	for range 9 {
		nested = "(if " + nested + " then resource.account.owner == resource.owner else resource.account.owner != resource.owner)"
	}
	for name, c := range map[string]struct {
		policy string
		change func(*accesscontrol.Config)
		want   string
	}{
		"three deep":              {permit(deep(2)), nil, ""},
		"four deep":               {permit(deep(3)), nil, "goes through 4 records, which is more than 3"},
		"long":                    {permit("(" + long.String() + ")"), nil, ""},
		"too long":                {permit(nested), nil, "becomes too long as SQL"},
		"sealed":                  {permit(`resource.account has note && resource.account.note == "x"`), nil, "attribute note is sealed"},
		"not declared":            {permit("resource.account.owner == principal"), func(c *accesscontrol.Config) { c.Tables[0].Columns[1].Join = false }, "set Join on the column"},
		"not declared further on": {permit(`resource.account has region && resource.account.region.manager == principal`), func(c *accesscontrol.Config) { c.Tables[1].Columns[1].Join = false }, "set Join on the column"},
		"nobody is bound":         {mine, func(c *accesscontrol.Config) { c.Tables[0].Columns[0].Join = true }, "attribute owner cannot be a join: no table binds User"},
		"no reference":            {mine, func(c *accesscontrol.Config) { c.Tables[1].Columns[3].Join = true }, "it does not refer to an entity"},
		"no table":                {mine, func(c *accesscontrol.Config) { c.Tables[1].Name = "" }, "both records need an SQL table"},
		"no table of its own":     {mine, func(c *accesscontrol.Config) { c.Tables[0].Name = "" }, "both records need an SQL table"},
		"another type of column":  {mine, func(c *accesscontrol.Config) { c.Tables[1].KeyAs = accesscontrol.UUID }, "it holds text and the key of table account UUIDs: give both columns one type"},
		"the type that the other is": {mine, func(c *accesscontrol.Config) {
			c.Tables[2].KeyAs, c.Tables[1].Columns[1].As = accesscontrol.Integer, accesscontrol.Integer
		}, ""},
		"no fence":          {mine, func(c *accesscontrol.Config) { c.Tables[1].Tenant = "" }, "exactly one of Tenant and OnlyTenant"},
		"by way of if":      {permit(`(if principal == principal then resource.account else resource.account).owner == principal`), nil, "reads another Account than the one that is asked about"},
		"searched as a set": {permit(`resource.account in [Account::"a1"] && resource in resource.account`), nil, "only one side of in can be a column"},
	} {
		config := contactConfig(c.policy)
		if c.change != nil {
			c.change(&config)
		}
		_, err := accesscontrol.Load(t.Context(), config)
		if c.want == "" {
			require.NoError(t, err, name)
			continue
		}
		require.ErrorIs(t, err, accesscontrol.ErrPolicy, name)
		require.ErrorContains(t, err, c.want, name)
	}
}

// A chain of || or && is written in the length of the chain, twice at most.
func TestTheTextOfAJoinedChainGrowsWithTheChain(t *testing.T) {
	length := func(word string, n int) int {
		condition := "resource.account.owner == principal" + strings.Repeat(word+"resource.account.owner != resource.owner", n-1)
		policy := contactPolicy(t, `@id("p") permit (principal, action, resource is Contact) when { resource has account && !(`+condition+`) };
			@id("q") permit (principal, action, resource is Contact) when { resource has account && (`+condition+`) };`)
		where, err := policy.Filter(t.Context(), ann("main"), "read", "contact")
		require.NoError(t, err)
		text, _ := where.MySQL("c")
		return len(text)
	}
	for _, word := range []string{" || ", " && "} {
		require.Less(t, length(word, 80), 10*length(word, 10), word)
	}
}

// Ids that are UUIDs are joined as such, whatever their case where a record is
// brought.
func TestJoinsByUUID(t *testing.T) {
	const id = "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"
	config := contactConfig(mine)
	config.Tables[0].Columns[1].As, config.Tables[1].KeyAs, config.Tables[1].Columns[2].As = accesscontrol.UUID, accesscontrol.UUID, accesscontrol.UUID
	policy, err := accesscontrol.Load(t.Context(), config)
	require.NoError(t, err)
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		if d.Name == testdb.SQLite { // has no such type
			return
		}
		db := d.Open(t)
		for statement := range strings.SplitSeq(contactDDL(d), ";") {
			if strings.Contains(statement, "CREATE") {
				statement = strings.Replace(statement, "account "+map[bool]string{true: "VARCHAR(60) COLLATE utf8mb4_general_ci", false: "text"}[d.Name == testdb.MariaDB], "account uuid", 1)
				if strings.Contains(statement, "TABLE accounts") {
					for _, column := range []string{"(id ", "parent "} {
						before, after, _ := strings.Cut(statement, column)
						_, after, _ = strings.Cut(after, map[string]string{"(id ": " NOT NULL,", "parent ": ","}[column])
						statement = before + column + "uuid" + map[string]string{"(id ": " NOT NULL,", "parent ": ","}[column] + after
					}
				}
				_, err := db.ExecContext(t.Context(), statement)
				require.NoError(t, err, statement)
			}
		}
		for _, statement := range []string{"INSERT INTO accounts (id, tenant, owner) VALUES ('" + id + "', 'main', 'ann')", "INSERT INTO contacts VALUES ('c1', 'main', 'x', '" + strings.ToUpper(id) + "')"} {
			_, err := db.ExecContext(t.Context(), statement)
			require.NoError(t, err, statement)
		}
		require.NoError(t, policy.CheckSchema(t.Context(), db))
		where, err := policy.Filter(t.Context(), ann("main"), "read", "contact")
		require.NoError(t, err)
		require.Equal(t, []string{"main/c1"}, contactsOf(t, db, d, where))
	})
	record := accesscontrol.Resource{Type: "contact", ID: "c1", Tenant: "main", Attrs: map[string]any{"owner": "x", "account": id}, Related: map[string]accesscontrol.Resource{
		"account": {Type: "account", ID: strings.ToUpper(id), Tenant: "main", Attrs: map[string]any{"owner": "ann"}},
	}}
	require.NoError(t, policy.Check(t.Context(), ann("main"), "read", record))
}

// A list by way of another table begins there, by its index, or asks its key.
func TestJoinsLeaveTheIndexToTheDatabase(t *testing.T) {
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		db := d.Open(t)
		exec := func(query string) {
			_, err := db.ExecContext(t.Context(), query)
			require.NoError(t, err, query)
		}
		for statement := range strings.SplitSeq(contactDDL(d), ";") {
			if strings.Contains(statement, "CREATE") {
				exec(statement)
			}
		}
		exec("CREATE INDEX accounts_owner ON accounts (tenant, owner)")
		exec("CREATE INDEX contacts_account ON contacts (tenant, account)")
		var accounts, contacts []string
		for i := range 4000 {
			accounts = append(accounts, fmt.Sprintf("('a%d', 't%d', 'u%d', NULL, NULL, NULL, NULL)", i, i%2, i%500))
			contacts = append(contacts, fmt.Sprintf("('c%d', 't%d', 'u%d', 'a%d')", i, i%2, i%500, i))
			if len(accounts) == 500 {
				exec("INSERT INTO accounts VALUES " + strings.Join(accounts, ", "))
				exec("INSERT INTO contacts VALUES " + strings.Join(contacts, ", "))
				accounts, contacts = nil, nil
			}
		}
		exec(map[bool]string{true: "ANALYZE TABLE contacts, accounts", false: "ANALYZE"}[d.Name == testdb.MariaDB])
		who := accesscontrol.Principal{Tenant: "t1", ID: "u1"}
		for policy, indexes := range map[string][]string{
			mine: {"accounts_owner", "contacts_account"},
			`@id("p") permit (principal, action, resource is Contact) when { resource.owner == principal || resource has account && resource.account.owner == principal };`: {"accounts"},
		} {
			where, err := contactPolicy(t, policy).Filter(t.Context(), who, "read", "contact")
			require.NoError(t, err)
			condition, args := rendered(d, where, "c")
			found := plan(t, db, d, "SELECT * FROM contacts c WHERE "+condition, args...)
			t.Logf("%s\n%s\n%s", policy, condition, found)
			for _, index := range indexes {
				require.Contains(t, found, index, "%s\n%s", condition, found)
			}
		}
	})
}

// A column that is joined and the key that it refers to are of one collation,
// and the key is one record's.
func TestCheckSchemaOfJoins(t *testing.T) {
	policy := contactPolicy(t, mine)
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		db := contactDB(t, d)
		require.NoError(t, policy.CheckSchema(t.Context(), db))
		exec := func(query string) {
			_, err := db.ExecContext(t.Context(), query)
			require.NoError(t, err, query)
		}
		exec("ALTER TABLE accounts RENAME TO former")
		exec("CREATE TABLE accounts AS SELECT * FROM former")
		exec("DROP TABLE former")
		if d.Name == testdb.SQLite { // which makes no STRICT table of it
			exec("DROP TABLE accounts")
			exec(strings.Replace(strings.Split(contactDDL(d), ";")[1], ", PRIMARY KEY (tenant, id)", "", 1))
		} else if d.Name != testdb.MariaDB {
			exec("ALTER TABLE accounts ALTER id SET NOT NULL, ALTER tenant SET NOT NULL, ALTER owner SET NOT NULL")
		}
		exec("CREATE UNIQUE INDEX three ON accounts (tenant, id, owner)")
		exec("CREATE INDEX two ON accounts (tenant, id)")
		problems := func() []string {
			var different *accesscontrol.SchemaError
			require.ErrorAs(t, policy.CheckSchema(t.Context(), db), &different)
			return different.Problems
		}
		require.Equal(t, []string{
			"table accounts: column parent joins table accounts, whose column id is not UNIQUE by itself, nor within the tenant",
			"table contacts: column account joins table accounts, whose column id is not UNIQUE by itself, nor within the tenant",
		}, problems())
		exec("CREATE UNIQUE INDEX one ON accounts (id, tenant)")
		require.NoError(t, policy.CheckSchema(t.Context(), db))
		switch d.Name {
		case testdb.SQLite: // compares as it is told to
			return
		case testdb.MariaDB:
			exec("ALTER TABLE contacts MODIFY account VARCHAR(60) COLLATE utf8mb4_bin")
		default:
			exec(`ALTER TABLE contacts ALTER account TYPE text COLLATE "C"`)
		}
		require.Equal(t, []string{"table contacts: column account has another collation than column id of table accounts, with which it is joined"}, problems())
	})
}
