package accesscontrol_test

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/accesscontrol"
)

// What stands in the config is as if each principal brought it along: random
// policies give the same decisions, reasons and rows, and Cedar agrees.
// 30 sets x 60 rows x 3 principals.
func TestStaticEntitiesAreAsIfBroughtAlong(t *testing.T) {
	g := generator{Rand: rand.New(rand.NewPCG(20261128, 1))}
	db := openDB(t, itemDDL)
	insertItems(t, db, g.Rand, 60)
	records, err := items(t.Context(), db)
	require.NoError(t, err)
	allowed, tree := 0, 0
	for sets := 0; sets < 30; {
		text := g.policies() + `
			@id("static-owner") permit (principal, action == Action::"read", resource) when { resource has team && resource.team in Team::"t3" };
			@id("static-group") permit (principal in Team::"t3", action == Action::"read", resource) when { resource.amount == 1 };
			@id("static-inside") permit (principal, action == Action::"read", resource) when { principal in Team::"t3" && resource.flag };
			@id("static-above") forbid (principal, action == Action::"read", resource) when { resource has team && !(principal in resource.team) && resource.amount > 3 };`
		brought, err := accesscontrol.Load(t.Context(), itemConfig(text))
		if err != nil {
			require.Contains(t, err.Error(), "optional attribute", "the generator writes nothing else that is refused:\n%s", text)
			continue
		}
		sets++
		for _, p := range itemPrincipals() {
			config := itemConfig(text)
			config.Entities = p.Entities
			static, err := accesscontrol.Load(t.Context(), config)
			require.NoError(t, err)
			bare := p
			bare.Entities = nil
			if len(p.Entities) > 0 { // the same again is no fault
				bare.Entities = p.Entities[len(p.Entities)-1:]
			}
			for _, r := range records {
				want, err := brought.Decide(t.Context(), accesscontrol.Request{Principal: p, Action: "read", Resource: r})
				require.NoError(t, err)
				got, err := static.Decide(t.Context(), accesscontrol.Request{Principal: bare, Action: "read", Resource: r})
				require.NoError(t, err)
				require.Equal(t, want, got, text)
				cedar, err := static.Cedar(t.Context(), accesscontrol.Request{Principal: bare, Action: "read", Resource: r})
				require.NoError(t, err)
				got.Nearest = accesscontrol.Nearest{}
				require.Equal(t, cedar, got, text)
				if got.Allowed {
					allowed++
				}
			}
			want, err := brought.Filter(t.Context(), p, "read", "item")
			require.NoError(t, err)
			got, err := static.Filter(t.Context(), bare, "read", "item")
			require.NoError(t, err)
			wantSQL, wantArgs := want.Postgres("c", 1)
			gotSQL, gotArgs := got.Postgres("c", 1)
			require.Equal(t, wantSQL, gotSQL)
			require.Equal(t, wantArgs, gotArgs)
			tree += len(p.Entities)
		}
	}
	require.Greater(t, allowed, 200)
	require.Positive(t, tree)
}

func orgConfig(entities ...accesscontrol.Entity) accesscontrol.Config {
	config := itemConfig(`@id("below") permit (principal, action == Action::"read", resource) when { resource has team && resource.team in principal.teams };`)
	config.Entities = entities
	return config
}

// The tree of teams is written once, and moves for everybody with a reload: for
// an Actor that is held, too.
func TestATreeInTheConfigMovesWithAReload(t *testing.T) {
	team := func(id string, in ...string) accesscontrol.Entity {
		e := accesscontrol.Entity{Type: "Team", ID: id}
		for _, p := range in {
			e.Parents = append(e.Parents, accesscontrol.Ref{Type: "Team", ID: p})
		}
		return e
	}
	policy, err := accesscontrol.Load(t.Context(), orgConfig(team("bern", "west"), team("west", "world")))
	require.NoError(t, err)
	boss := itemPrincipals()[0]
	boss.Entities, boss.Attrs["teams"] = nil, []string{"world"}
	actor, err := policy.For(boss)
	require.NoError(t, err)
	record := accesscontrol.Resource{Type: "item", ID: "i", Tenant: "main", Attrs: map[string]any{"owner": "x", "team": "bern", "stage": "", "amount": 1, "flag": true}}
	require.NoError(t, actor.Check(t.Context(), "read", record))
	where, err := actor.Filter(t.Context(), "read", "item")
	require.NoError(t, err)
	_, args := where.Postgres("c", 1)
	require.Equal(t, []any{"main", "bern", "west", "world"}, args)

	require.NoError(t, policy.Reload(t.Context(), orgConfig(team("bern", "east"), team("west", "world"))))
	require.ErrorIs(t, actor.Check(t.Context(), "read", record), accesscontrol.ErrDenied)
	// A principal may bring a part that stands in no config, and hang it in.
	boss.Entities = []accesscontrol.Entity{team("east", "west")}
	require.NoError(t, policy.Check(t.Context(), boss, "read", record))
	// What stands there is not theirs to say.
	boss.Entities = []accesscontrol.Entity{team("bern", "world")}
	err = policy.Check(t.Context(), boss, "read", record)
	require.ErrorIs(t, err, accesscontrol.ErrRequest)
	require.NotContains(t, err.Error(), "bern")
	require.ErrorContains(t, err, "Config.Entities has this entity otherwise")
	boss.Entities = []accesscontrol.Entity{team("bern", "east")}
	require.ErrorIs(t, policy.Check(t.Context(), boss, "read", record), accesscontrol.ErrDenied)
}

// A principal who stands in the config is as the config says, or refused: their
// groups, too.
func TestAPrincipalOfTheConfigIsAsItSays(t *testing.T) {
	ann := itemPrincipals()[0]
	policy, err := accesscontrol.Load(t.Context(), orgConfig(accesscontrol.Entity{Type: "User", ID: ann.ID, Attrs: ann.Attrs, Parents: ann.Parents}))
	require.NoError(t, err)
	_, err = policy.For(ann)
	require.NoError(t, err)
	ann.Parents = append(ann.Parents, accesscontrol.Ref{Type: "Role", ID: "root"})
	_, err = policy.For(ann)
	require.ErrorIs(t, err, accesscontrol.ErrRequest)
}

func TestStaticEntitiesAreCheckedAtLoad(t *testing.T) {
	team := func(id, in string) accesscontrol.Entity {
		return accesscontrol.Entity{Type: "Team", ID: id, Parents: []accesscontrol.Ref{{Type: "Team", ID: in}}}
	}
	for _, c := range []struct {
		name     string
		entities []accesscontrol.Entity
		want     []string
	}{
		{"type", []accesscontrol.Entity{{Type: "Office", ID: "secret"}}, []string{"Entities[0]: entity Office: the schema has no such entity type"}},
		{"id", []accesscontrol.Entity{{Type: "Team"}}, []string{"Entities[0]: entity Team: id is empty"}},
		{"twice", []accesscontrol.Entity{{Type: "Team", ID: "secret"}, {Type: "Team", ID: "secret"}}, []string{"Entities[1]: entity Team: the same entity is given twice"}},
		{"attribute", []accesscontrol.Entity{{Type: "Team", ID: "secret", Attrs: map[string]any{"size": 3}}}, []string{"Entities[0]: entity size: attribute is not in the schema"}},
		{"parent", []accesscontrol.Entity{{Type: "Team", ID: "secret", Parents: []accesscontrol.Ref{{Type: "Role", ID: "secret"}}}}, []string{"Entities[0]: entity Role: the schema does not let Team be in it"}},
		{"itself", []accesscontrol.Entity{team("secret", "secret")}, []string{"Entities[0]: it is in itself, by way of its parents"}},
		{"circle", []accesscontrol.Entity{team("a", "secret"), team("x", "a"), team("secret", "a")}, []string{
			"Entities[0]: it is in itself, by way of its parents", "Entities[2]: it is in itself, by way of its parents",
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			require.Equal(t, c.want, problems(t, orgConfig(c.entities...)))
		})
	}
	config := crmConfig()
	config.Entities = []accesscontrol.Entity{{Type: "AuditLog", ID: "main"}}
	require.Equal(t, []string{"Entities[0]: it is a record of type audit, which has no table: the record says what it is, at each call"}, problems(t, config))
}

// What is left to Cedar, record by record, sees the entities of the config, too.
func TestStaticEntitiesAreSeenWhereThereIsNoTable(t *testing.T) {
	ann := itemPrincipals()[0]
	config := itemConfig(`@id("like-lead") permit (principal, action == Action::"read", resource) when { [resource.stage].contains(principal.lead.region) };`)
	config.Tables = []accesscontrol.Table{{Resource: "item", Entity: "Item", Read: "read"}}
	config.Entities, ann.Entities = ann.Entities, nil
	policy, err := accesscontrol.Load(t.Context(), config)
	require.NoError(t, err)
	record := accesscontrol.Resource{Type: "item", ID: "i", Tenant: "main", Attrs: map[string]any{"owner": "x", "stage": "a", "amount": 1, "flag": true}}
	require.NoError(t, policy.Check(t.Context(), ann, "read", record))
	record.Attrs["stage"] = "b"
	require.ErrorIs(t, policy.Check(t.Context(), ann, "read", record), accesscontrol.ErrDenied)
}
