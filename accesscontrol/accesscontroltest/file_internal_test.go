package accesscontroltest

import (
	"errors"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/accesscontrol"
)

// A test that fails says what was decided, and what would have been needed.
func TestAVerdictExplainsItself(t *testing.T) {
	yes, no := true, false
	allowed := accesscontrol.Decision{Allowed: true, Policies: []string{"a", "b"}}
	denied := accesscontrol.Decision{Reason: accesscontrol.NotPermitted, Failed: []string{"f"}, Nearest: accesscontrol.Nearest{Policy: "own", Condition: "resource.owner == principal"}}
	for _, c := range []struct {
		name string
		test testCase
		is   accesscontrol.Decision
		err  error
		want string
	}{
		{"as expected", testCase{Allowed: &yes, Policies: &[]string{"b", "a"}}, allowed, nil, ""},
		{"as expected", testCase{Allowed: &no, Reason: accesscontrol.NotPermitted, Policies: &[]string{}}, denied, nil, ""},
		{"denied", testCase{Allowed: &yes}, denied, nil, "read on c1 for ann: denied: not_permitted, failing f, nearest permit own needs resource.owner == principal; want allowed"},
		{"allowed", testCase{Allowed: &no}, allowed, nil, "read on c1 for ann: allowed by a, b; want denied"},
		{"other policies", testCase{Allowed: &yes, Policies: &[]string{"a"}}, allowed, nil, `read on c1 for ann: allowed by a, b; want the policies ["a"]`},
		{"other reason", testCase{Allowed: &no, Reason: accesscontrol.Forbidden}, denied, nil, "read on c1 for ann: denied: not_permitted, failing f, nearest permit own needs resource.owner == principal; want the reason forbidden"},
		{"no answer", testCase{Allowed: &no}, accesscontrol.Decision{}, errors.New("bad request"), "read on c1 for ann: cannot be answered: bad request"},
	} {
		c.test.Principal, c.test.Action, c.test.Resource = "ann", "read", "c1"
		require.Equal(t, c.want, c.test.verdict(c.is, c.err), c.name)
	}
}

// What would be read as less than it says is refused.
func TestAFileIsReadWholeOrNotAtAll(t *testing.T) {
	const who, what = `"principals": {"ann": {}}`, `"resources": {"c1": {"type": "contact"}}`
	for text, want := range map[string]string{
		``:   "EOF",
		`{}`: "there is no test in it",
		`{` + who + `, ` + what + `, "tests": [{"principal": "bob", "resource": "c1", "allowed": true}]}`:                  `test 0: principals have no "bob"`,
		`{` + who + `, ` + what + `, "tests": [{"principal": "ann", "resource": "c2", "allowed": true}]}`:                  `test 0: resources have no "c2"`,
		`{` + who + `, ` + what + `, "tests": [{"principal": "ann", "resource": "c1"}]}`:                                   "test 0: allowed is missing",
		`{` + who + `, ` + what + `, "tests": [{"principal": "ann", "resource": "c1", "allowed": true, "policy": ["x"]}]}`: `unknown field "policy"`,
		`{"principals": {"ann": {"role": "admin"}}, ` + what + `, "tests": []}`:                                            `unknown field "role"`,
		`{` + who + `, ` + what + `, "tests": [{"principal": "ann", "resource": "c1", "allowed": true}]} {"tests": []}`:    "something stands behind the closing brace",
		`{` + who + `, ` + what + `, "tests": [{"principal": "ann", "resource": "c1", "allowed": "yes"}]}`:                 "cannot unmarshal",
	} {
		_, err := parse([]byte(text))
		require.ErrorContains(t, err, want, text)
	}
	_, err := testFiles(fstest.MapFS{"crm.cedar": {}})
	require.ErrorContains(t, err, "nothing would be tested")
}
