package main

import (
	"slices"
	"strconv"
	"testing"

	"github.com/libtnb/sqlite"
	"github.com/stretchr/testify/require"
	"gorm.io/driver/mysql"
	"gorm.io/driver/postgres"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"

	"github.com/crmguard/crmguard/accesscontrol"
	"github.com/crmguard/crmguard/internal/testdb"
)

// Lead is a row that a policy is about, with the deal that came of it.
type Lead struct {
	ID     string `gorm:"primaryKey"`
	Tenant string
	Owner  string
	City   *string
	Score  int64
	DealID *string
	Deal   *Deal
}

// Deal is one, too.
type Deal struct {
	ID     string `gorm:"primaryKey"`
	Tenant string
	Owner  string
}

const leadPolicy = `
@id("own") permit (principal, action, resource) when { resource.owner == principal };
@id("city") permit (principal, action, resource is Lead) when { resource has city && resource.city like "*?*" };
@id("cold") forbid (principal, action == Action::"lead.read", resource) when { resource.score < 2 };`

func leadConfig() accesscontrol.Config {
	return accesscontrol.Config{
		Texts: map[string]string{
			"crm.cedar": leadPolicy,
			"crm.cedarschema": `entity User; entity Lead = { owner: User, city?: String, score: Long }; entity Deal = { owner: User };
				action "lead.read" appliesTo { principal: User, resource: Lead }; action "deal.read" appliesTo { principal: User, resource: Deal };`,
		},
		Tables: []accesscontrol.Table{
			{Resource: "lead", Entity: "Lead", Name: "leads", Key: "id", Tenant: "tenant", Columns: []accesscontrol.Column{{Attr: "owner", Required: true}, {Attr: "city", Like: true}, {Attr: "score", Required: true}}},
			{Resource: "deal", Entity: "Deal", Name: "deals", Key: "id", Tenant: "tenant", Columns: []accesscontrol.Column{{Attr: "owner", Required: true}}},
		},
	}
}

// A condition of a filter is one of GORM's: in a list, a count, pages, a change
// and a deletion, and in what is joined and loaded beside.
func TestAFilterUnderGORM(t *testing.T) {
	for _, name := range []testdb.Name{testdb.SQLite, testdb.PostgresC, testdb.MariaDB} {
		for _, prepared := range []bool{false, true} {
			t.Run(string(name)+"/"+strconv.FormatBool(prepared), func(t *testing.T) {
				raw := testdb.New(t, name).Open(t)
				var dialector gorm.Dialector
				condition, part := accesscontrol.Where.Gorm, accesscontrol.Page.Gorm
				switch name {
				case testdb.SQLite:
					dialector, condition, part = sqlite.New(sqlite.Config{Conn: raw}), accesscontrol.Where.SQLite, accesscontrol.Page.SQLite
				case testdb.MariaDB:
					dialector, condition, part = mysql.New(mysql.Config{Conn: raw}), accesscontrol.Where.MySQL, accesscontrol.Page.MySQL
				default:
					dialector = postgres.New(postgres.Config{Conn: raw})
				}
				db, err := gorm.Open(dialector, &gorm.Config{PrepareStmt: prepared, Logger: logger.Discard, DisableForeignKeyConstraintWhenMigrating: true})
				require.NoError(t, err)
				for _, statement := range []string{
					"CREATE TABLE deals (id VARCHAR(20) PRIMARY KEY, tenant VARCHAR(20) NOT NULL, owner VARCHAR(20) NOT NULL)",
					"CREATE TABLE leads (id VARCHAR(20) PRIMARY KEY, tenant VARCHAR(20) NOT NULL, owner VARCHAR(20) NOT NULL, city VARCHAR(20), score BIGINT NOT NULL, deal_id VARCHAR(20))",
				} {
					require.NoError(t, db.Exec(statement).Error)
				}
				policy, err := accesscontrol.Load(t.Context(), leadConfig())
				require.NoError(t, err)
				actor, err := policy.For(accesscontrol.Principal{Type: "User", ID: "ann", Tenant: tenant})
				require.NoError(t, err)
				leads, err := actor.Filter(t.Context(), "lead.read", "lead")
				require.NoError(t, err)
				deals, err := actor.Filter(t.Context(), "deal.read", "deal")
				require.NoError(t, err)

				asked, odd := "what?", "none"
				var want []string
				for i := range 40 {
					lead := Lead{ID: "l" + strconv.Itoa(100+i), Tenant: []string{tenant, "other", tenant}[i%3], Owner: []string{"ann", "bob"}[i%2], City: []*string{nil, &asked, &odd}[i/2%3], Score: int64(i % 5)}
					deal := Deal{ID: "d" + strconv.Itoa(100+i), Tenant: []string{tenant, "other"}[i%2], Owner: []string{"ann", "bob"}[i/2%2]}
					if i%5 > 0 {
						lead.DealID = &deal.ID
						require.NoError(t, db.Create(&deal).Error)
					}
					require.NoError(t, db.Omit("Deal").Create(&lead).Error)
					if actor.Check(t.Context(), "lead.read", lead.resource()) == nil {
						want = append(want, lead.ID)
					}
				}
				require.Greater(t, len(want), 8)
				require.Less(t, len(want), 20)
				ids := func(found []Lead) (out []string) {
					for _, lead := range found {
						out = append(out, lead.ID)
					}
					return out
				}

				var found []Lead
				sql, args := condition(leads, "leads")
				require.NoError(t, db.Where(sql, args...).Where("score <> ? OR score = ?", 3, 3).Order("id").Find(&found).Error)
				require.Equal(t, want, ids(found))
				found = nil
				require.NoError(t, db.Where("score < ?", 99).Where(sql, args...).Or("1 = 0").Order("id").Find(&found).Error)
				require.Equal(t, want, ids(found), "beside OR")
				var n int64
				require.NoError(t, db.Model(&Lead{}).Where(sql, args...).Count(&n).Error)
				require.EqualValues(t, len(want), n)

				// Beside a table that is joined, and in one that is loaded.
				found = nil
				sql, args = condition(leads, "leads")
				sqlDeal, argsDeal := condition(deals, "Deal")
				require.NoError(t, db.Joins("Deal", db.Where(sqlDeal, argsDeal...)).Where(sql, args...).Order("leads.id").Find(&found).Error)
				require.Equal(t, want, ids(found))
				sqlDeal, argsDeal = condition(deals, "deals")
				var loaded []Lead
				require.NoError(t, db.Preload("Deal", append([]any{sqlDeal}, argsDeal...)...).Where(sql, args...).Order("id").Find(&loaded).Error)
				require.Equal(t, found, loaded)
				seen := 0
				for _, lead := range loaded {
					if lead.Deal != nil {
						require.Equal(t, Deal{ID: *lead.DealID, Tenant: tenant, Owner: "ann"}, *lead.Deal)
						seen++
					}
				}
				require.NotZero(t, seen)

				var paged []string
				for after := ""; ; {
					page, err := actor.Page(t.Context(), "lead", []accesscontrol.Order{{Field: "city", Desc: true}, {Field: "score"}}, after)
					require.NoError(t, err)
					behind, order, more := part(page, "leads")
					found = nil
					require.NoError(t, db.Where(sql, args...).Where(behind, more...).Order(order).Limit(3).Find(&found).Error)
					if len(found) == 0 {
						break
					}
					require.LessOrEqual(t, len(paged), len(want))
					paged = append(paged, ids(found)...)
					after, err = page.Cursor(found[len(found)-1].resource())
					require.NoError(t, err)
				}
				require.ElementsMatch(t, want, paged)

				changed := db.Model(&Lead{}).Where(sql, args...).Update("deal_id", "none")
				require.NoError(t, changed.Error)
				require.EqualValues(t, len(want), changed.RowsAffected)
				deleted := db.Where(sql, args...).Delete(&Lead{})
				require.NoError(t, deleted.Error)
				require.EqualValues(t, len(want), deleted.RowsAffected)
				found = nil
				require.NoError(t, db.Find(&found).Error)
				require.Len(t, found, 40-len(want))
				for _, id := range ids(found) {
					require.False(t, slices.Contains(want, id))
				}
			})
		}
	}
}

func (l *Lead) resource() accesscontrol.Resource {
	return accesscontrol.Resource{Type: "lead", ID: l.ID, Tenant: l.Tenant, Attrs: map[string]any{"owner": l.Owner, "city": l.City, "score": l.Score}}
}
