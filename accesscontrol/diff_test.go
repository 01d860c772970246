package accesscontrol_test

import (
	"context"
	"database/sql"
	"errors"
	"iter"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/accesscontrol"
	"github.com/crmguard/crmguard/internal/testdb"
)

func contactOf(owner string) accesscontrol.Resource {
	return accesscontrol.Resource{Type: "contact", ID: "c", Tenant: "main", Attrs: map[string]any{"owner": owner, "country": "DE"}}
}

// changedCRM is the CRM with one permit less, one more, one forbid more.
func changedCRM(t *testing.T) *accesscontrol.Policy {
	t.Helper()
	config := crmConfig()
	text := config.Texts["crm.cedar"]
	from := strings.Index(text, `@id("support-read")`)
	require.Positive(t, from)
	config.Texts["crm.cedar"] = text[:from] + text[from+strings.Index(text[from:], ";")+1:] + `
		@id("out-read") permit (principal, action == Action::"contact.read", resource is Contact) when { principal == User::"out" };
		@id("own-frozen") forbid (principal in Role::"sales", action == Action::"contact.update", resource is Contact);`
	policy, err := accesscontrol.Load(t.Context(), config)
	require.NoError(t, err)
	return policy
}

func TestDiffNamesThePoliciesThatMadeTheDifference(t *testing.T) {
	people := crmPeople()
	ask := func(who, action, owner string) accesscontrol.Request {
		return accesscontrol.Request{Principal: people[who], Action: action, Resource: contactOf(owner)}
	}
	broken := ask("sales", "contact.read", "ann")
	broken.Principal.Tenant = ""
	requests := []accesscontrol.Request{
		ask("sales", "contact.read", "ann"),
		ask("support", "contact.read", "ann"),
		ask("outsider", "contact.read", "ann"),
		broken, // neither can answer it
		ask("sales", "contact.update", "ann"),
		ask("sales", "contact.update", "bob"), // no twice, for another reason
		ask("manager", "contact.read", "ann"),
	}
	var got []string
	for c, err := range accesscontrol.Diff(t.Context(), loadCRM(t), changedCRM(t), accesscontrol.Each(requests...)) {
		require.NoError(t, err)
		require.Equal(t, requests[c.Index], c.Request)
		require.NotEqual(t, c.Before.Allowed, c.After.Allowed)
		got = append(got, c.Request.Principal.ID+" "+c.Request.Action+" "+strings.Join(c.Policies(), "+"))
	}
	require.Equal(t, []string{"sue contact.read support-read", "out contact.read out-read", "ann contact.update own-frozen+sales-own"}, got)
}

func TestDiffIsEndedByWhatItCannotRead(t *testing.T) {
	policy, other := loadCRM(t), changedCRM(t)
	request := accesscontrol.Request{Principal: crmPeople()["support"], Action: "contact.read", Resource: contactOf("ann")}
	unread := errors.New("the recording cannot be read")
	var requests iter.Seq2[accesscontrol.Request, error] = func(yield func(accesscontrol.Request, error) bool) {
		_ = yield(request, nil) && yield(accesscontrol.Request{}, unread) && yield(request, nil)
	}
	changes, errs := 0, []error{}
	for _, err := range accesscontrol.Diff(t.Context(), policy, other, requests) {
		if err != nil {
			errs = append(errs, err)
			continue
		}
		changes++
	}
	require.Equal(t, 1, changes)
	require.Equal(t, []error{unread}, errs)

	ended, end := context.WithCancel(t.Context())
	for _, err := range accesscontrol.Diff(ended, policy, other, accesscontrol.Each(request, request)) {
		if err != nil {
			require.ErrorIs(t, err, context.Canceled)
		}
		end()
	}
	end()
	for range accesscontrol.Diff(t.Context(), policy, other, accesscontrol.Each(request, request)) {
		break
	}
	for _, pair := range [][2]*accesscontrol.Policy{{nil, policy}, {policy, nil}} {
		for _, err := range accesscontrol.Diff(t.Context(), pair[0], pair[1], accesscontrol.Each(request)) {
			require.ErrorIs(t, err, accesscontrol.ErrNotLoaded)
		}
	}
}

// A request that one of the two cannot answer is a change.
func TestDiffShowsWhatOnlyOneSideCanAnswer(t *testing.T) {
	config := crmConfig()
	config.Texts["crm.cedarschema"] = strings.Replace(config.Texts["crm.cedarschema"], `"contact.read.pii", `, "", 1)
	config = config.Replaced("")
	config.Tables[0].Groups = nil
	less, err := accesscontrol.Load(t.Context(), config)
	require.NoError(t, err)
	request := accesscontrol.Request{Principal: crmPeople()["outsider"], Action: "contact.read.pii", Resource: contactOf("ann")}
	n := 0
	for c, err := range accesscontrol.Diff(t.Context(), loadCRM(t), less, accesscontrol.Each(request)) {
		require.NoError(t, err)
		require.NoError(t, c.BeforeErr)
		require.ErrorIs(t, c.AfterErr, accesscontrol.ErrRequest)
		n++
	}
	require.Equal(t, 1, n)
}

// DiffRows selects what two policies disagree about, on each database: with
// NULLs, and with forbids on either side.
func TestDiffRowsSelectsWhatChanges(t *testing.T) {
	texts := []string{
		`@id("own") permit (principal, action, resource) when { resource.owner == principal };`,
		`@id("team") permit (principal, action, resource) when { resource has team && principal.teams.contains(resource.team) };`,
		`@id("all") permit (principal, action, resource);
		 @id("won") forbid (principal, action, resource) when { resource.stage == "won" };`,
		`@id("all") permit (principal, action, resource);
		 @id("team") forbid (principal, action, resource) unless { resource has team && resource.team == Team::"a" };`,
		`@id("fails") permit (principal, action, resource) when { resource.amount == 1 && 9223372036854775807 + 1 == 5 };`,
		`@id("none") permit (principal, action, resource) when { principal == User::"nobody" };`,
	}
	ann := accesscontrol.Principal{Tenant: "main", ID: "ann", Attrs: map[string]any{"teams": []string{"a", "b"}}}
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		db := d.Open(t)
		db.SetMaxOpenConns(1)
		_, err := db.ExecContext(t.Context(), dealTable(d))
		require.NoError(t, err)
		_, err = db.ExecContext(t.Context(), `INSERT INTO deals VALUES ('1', 'main', 'ann', 'a', 'open', 1), ('2', 'main', 'ann', NULL, 'won', 1),
			('3', 'main', 'bob', 'b', 'open', 1), ('4', 'main', 'bob', NULL, 'open', 1), ('5', 'main', 'bob', 'c', 'won', 1), ('6', 'other', 'ann', 'a', 'open', 1)`)
		require.NoError(t, err)
		ids := func(where accesscontrol.Where) []string {
			condition, args := rendered(d, where, "c")
			rows, err := db.QueryContext(t.Context(), "SELECT c.id FROM deals c WHERE "+condition+" ORDER BY c.id", args...)
			require.NoError(t, err, condition)
			return scanIDs(t, rows)
		}
		some := 0
		for i, before := range texts {
			for j, after := range texts {
				old, now := dealPolicy(t.Context(), t, before), dealPolicy(t.Context(), t, after)
				gained, lost, err := accesscontrol.DiffRows(t.Context(), old, now, ann, "read", "deal")
				require.NoError(t, err)
				was, err := old.Filter(t.Context(), ann, "read", "deal")
				require.NoError(t, err)
				is, err := now.Filter(t.Context(), ann, "read", "deal")
				require.NoError(t, err)
				wantGained, wantLost := without(ids(is), ids(was)), without(ids(was), ids(is))
				require.Equal(t, wantGained, ids(gained), "%d to %d", i, j)
				require.Equal(t, wantLost, ids(lost), "%d to %d", i, j)
				require.Equal(t, wantGained, ids(gained.Value()), "%d to %d", i, j)
				some += len(wantGained)
			}
		}
		require.Greater(t, some, 15)
	})
}

func scanIDs(t *testing.T, rows *sql.Rows) []string {
	t.Helper()
	defer func() { require.NoError(t, rows.Close()) }()
	out := []string{}
	for rows.Next() {
		var id string
		require.NoError(t, rows.Scan(&id))
		out = append(out, id)
	}
	require.NoError(t, rows.Err())
	return out
}

func without(all, some []string) []string {
	out := []string{}
	for _, id := range all {
		if !slices.Contains(some, id) {
			out = append(out, id)
		}
	}
	return out
}

func TestDiffRowsRefusesWhatItCannotCompare(t *testing.T) {
	policy, ann := loadCRM(t), crmPeople()["sales"]
	config := crmConfig()
	config.Tables[0].Name = "people"
	elsewhere, err := accesscontrol.Load(t.Context(), config)
	require.NoError(t, err)
	_, _, err = accesscontrol.DiffRows(t.Context(), policy, elsewhere, ann, "contact.read", "contact")
	require.ErrorIs(t, err, accesscontrol.ErrRequest)
	for _, pair := range [][2]*accesscontrol.Policy{{policy, {}}, {{}, policy}} {
		_, _, err = accesscontrol.DiffRows(t.Context(), pair[0], pair[1], ann, "contact.read", "contact")
		require.ErrorIs(t, err, accesscontrol.ErrNotLoaded)
	}
}

// Two filters that are small enough each may be too large together.
func TestDiffRowsRefusesTooManyValues(t *testing.T) {
	const text = `@id("team") permit (principal, action, resource) when { resource has team && principal.teams.contains(resource.team) };`
	policy := dealPolicy(t.Context(), t, text)
	teams := make([]string, accesscontrol.MaxValues*3/4)
	for i := range teams {
		teams[i] = "t" + strconv.Itoa(i)
	}
	ann := accesscontrol.Principal{Tenant: "main", ID: "ann", Attrs: map[string]any{"teams": teams}}
	_, err := policy.Filter(t.Context(), ann, "read", "deal")
	require.NoError(t, err)
	_, _, err = accesscontrol.DiffRows(t.Context(), policy, policy, ann, "read", "deal")
	require.ErrorIs(t, err, accesscontrol.ErrTooLarge)
}

func TestDiffWithoutRequestsSaysSo(t *testing.T) {
	policy := loadCRM(t)
	n := 0
	for _, err := range accesscontrol.Diff(t.Context(), policy, policy, nil) {
		require.ErrorIs(t, err, accesscontrol.ErrRequest)
		n++
	}
	require.Equal(t, 1, n)
}
