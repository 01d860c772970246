package privacy_test

import (
	"encoding/base64"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/internal/frame"
	"github.com/crmguard/crmguard/privacy"
)

// Spellings that a form lets through and that a reader takes for "ann".
var disguises = map[string]string{
	"trailing space":           "ann ",
	"leading space":            " ann",
	"trailing no-break space":  "ann\u00a0",
	"inner no-break space":     "a\u00a0nn",
	"tab":                      "an\tn",
	"line break":               "ann\n",
	"delete":                   "ann\x7f",
	"zero-width space":         "\u200bann",
	"zero-width joiner":        "an\u200dn",
	"byte order mark":          "\ufeffann",
	"soft hyphen":              "an\u00adn",
	"direction override":       "\u202eann",
	"invisible filler":         "ann\u3164",
	"combining grapheme joint": "an\u034fn",
	"variation selector":       "ann\ufe0f",
}

func TestOneSpellingOfAPrincipal(t *testing.T) {
	s := newSystem(t)
	person := s.contact("a@a.example")
	p, err := s.desk.PlanErasure(t.Context(), privacy.Request{Tenant: "main", Person: person, Reason: "r", By: "ann"})
	require.NoError(t, err)
	for name, by := range disguises {
		require.ErrorIs(t, s.desk.Approve(t.Context(), p.ID, by), privacy.ErrPrincipal, name)
		_, err := s.desk.PlanErasure(t.Context(), privacy.Request{Tenant: "main", Person: person, Reason: "r", By: by})
		require.ErrorIs(t, err, privacy.ErrPrincipal, name)
		require.NotContains(t, err.Error(), by, name)
	}
	for _, by := range []string{"", "ann\xff", "ann\x00"} {
		require.ErrorIs(t, s.desk.Approve(t.Context(), p.ID, by), privacy.ErrID)
		_, err := s.desk.PlanErasure(t.Context(), privacy.Request{Tenant: "main", Person: person, Reason: "r", By: by})
		require.ErrorIs(t, err, privacy.ErrID)
	}
	for _, by := range []string{"ann", "Ann", "ANN"} {
		require.ErrorIs(t, s.desk.Approve(t.Context(), p.ID, by), privacy.ErrSelfApproval, by)
	}
	require.Equal(t, "planned", s.state(p.ID))
	require.NoError(t, s.desk.Approve(t.Context(), p.ID, "Zoë van der Berg"), "letters of any script and single spaces are names")
}

// Wherever two principals are asked for, they are not one in two spellings.
func TestTwoSpellingsAreOnePrincipal(t *testing.T) {
	s := newSystem(t)
	person := s.contact("a@a.example")
	for _, two := range [][2]string{
		{"Zo\u00eb", "Zoe\u0308"},
		{"ann", "\uff41\uff4e\uff4e"},
		{"ANN", "\uff41nn"},
		{"Strauß", "STRAUSS"},
		{"office/1", "o\ufb03ce/1"},
		{"Ann  Bee", "ann bee"},
		{"Σίσυφος", "ΣΊΣΥΦΟΣ"},
		{"\u13a0", "\uab70"},
		{"\u212bsa", "\u00e5sa"},
		{"user/\u2460", "user/1"},
	} {
		p, err := s.desk.PlanErasure(t.Context(), privacy.Request{Tenant: "main", Person: person, Reason: "r", By: two[0]})
		require.NoError(t, err)
		require.ErrorIs(t, s.desk.Approve(t.Context(), p.ID, two[1]), privacy.ErrSelfApproval, "%q", two)
		require.ErrorIs(t, s.desk.Void(t.Context(), privacy.Voiding{Plan: p.ID, By: two[0], Approved: two[1], Because: "store-lost"}), privacy.ErrSelfApproval, "%q", two)
		require.ErrorIs(t, s.desk.OpenAnyway(t.Context(), privacy.Opening{By: two[0], Approved: two[1], Because: "incident:1", Until: s.now.Add(time.Hour)}), privacy.ErrSelfApproval, "%q", two)
		require.NoError(t, s.desk.Cancel(t.Context(), p.ID))
	}
	for name, by := range disguises {
		require.ErrorIs(t, s.desk.Void(t.Context(), privacy.Voiding{Plan: "x", By: "bob", Approved: by, Because: "store-lost"}), privacy.ErrPrincipal, name)
		require.ErrorIs(t, s.desk.OpenAnyway(t.Context(), privacy.Opening{By: by, Approved: "bob", Because: "incident:1", Until: s.now.Add(time.Hour)}), privacy.ErrPrincipal, name)
		_, err := s.desk.Hold(t.Context(), privacy.LegalHold{Tenant: "main", Person: person, Because: "litigation:1", By: by})
		require.ErrorIs(t, err, privacy.ErrPrincipal, name)
	}
}

// An approval that carries a genuine tag is measured again where it is read:
// an older program may have written it.
func TestAStoredApprovalByTheRequesterIsNotExecuted(t *testing.T) {
	s := newSystem(t)
	digests := digestsOf(s.roots...)
	approve := func(plan, by string) {
		var person string
		var body []byte
		require.NoError(t, s.db.QueryRowContext(t.Context(), `SELECT person, body FROM crmguard_privacy_plan WHERE id = ?`, plan).Scan(&person, &body))
		approval := canonical(t, map[string]string{"at": s.now.Format("2006-01-02T15:04:05.000000Z"), "by": by})
		row := frame.Join([]byte(plan), []byte("main"), []byte(person), []byte("approved"), []byte("0"), body, approval, nil, nil, nil)
		ids, macs, err := digests(t.Context(), "crmguard/privacy/plan/v1", row)
		require.NoError(t, err)
		mac := fmt.Sprintf("%d.%s", ids[0], base64.RawURLEncoding.EncodeToString(macs[0]))
		s.exec(`UPDATE crmguard_privacy_plan SET state = 'approved', approval = ?, mac = ? WHERE id = ?`, approval, []byte(mac), plan)
	}
	ann := s.contact("ann@a.example")
	p, err := s.desk.PlanErasure(t.Context(), privacy.Request{Tenant: "main", Person: ann, Reason: "r", By: "user/1"})
	require.NoError(t, err)
	s.now = s.now.Add(25 * time.Hour)
	for _, by := range []string{"user/1", "USER/1", "user/1 ", "user/\u200b1", "\uff55ser/1"} {
		approve(p.ID, by)
		_, err := s.desk.Execute(t.Context(), p.ID)
		require.ErrorIs(t, err, privacy.ErrPlanForged, "%q", by)
	}
	require.Equal(t, 1, s.count(`SELECT COUNT(*) FROM contacts`))
	approve(p.ID, "user/2")
	_, err = s.desk.Execute(t.Context(), p.ID)
	require.NoError(t, err, "the same tag by someone else")
}
