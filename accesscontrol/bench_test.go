package accesscontrol_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/cedar-policy/cedar-go"
	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/accesscontrol"
)

// many writes n policies over many roles and two actions, as a CRM with many
// teams has them. A principal with one role is concerned by a few.
func many(n int) string {
	var b strings.Builder
	b.WriteString("@id(\"never\") forbid (principal, action, resource) when { resource has blocked && resource.blocked };\n")
	for i := range n - 1 {
		fmt.Fprintf(&b, "@id(\"p%d\") permit (principal in Role::\"r%d\", action == Action::\"%s\", resource is Item) when { resource.owner == principal || resource.stage == \"s%d\" };\n",
			i, i/2, []string{"read", "write"}[i%2], i)
	}
	return b.String()
}

// manyConfig spreads the text over files of 500 policies.
func manyConfig(n int) accesscontrol.Config {
	config := itemConfig("")
	lines := strings.SplitAfter(many(n), "\n")
	for i := 0; i < len(lines); i += 500 {
		config.Texts[fmt.Sprintf("many%05d.cedar", i)] = strings.Join(lines[i:min(i+500, len(lines))], "")
	}
	return config
}

func benchPolicy(b *testing.B, n int) (*accesscontrol.Policy, accesscontrol.Principal, accesscontrol.Resource) {
	b.Helper()
	policy, err := accesscontrol.Load(b.Context(), manyConfig(n))
	require.NoError(b, err)
	principal := itemPrincipals()[0]
	principal.Parents, principal.Entities = []accesscontrol.Ref{{Type: "Role", ID: "r1"}}, nil
	record := accesscontrol.Resource{Type: "item", ID: "i", Tenant: "main", Attrs: map[string]any{"owner": "ann", "stage": "open", "amount": 5, "flag": true}}
	require.NoError(b, policy.Check(b.Context(), principal, "read", record))
	return policy, principal, record
}

var benchSizes = []int{10, 100, 1_000, 10_000}

func BenchmarkCheck(b *testing.B) {
	for _, n := range benchSizes {
		b.Run(fmt.Sprintf("policies=%d", n), func(b *testing.B) {
			policy, principal, record := benchPolicy(b, n)
			b.ReportAllocs()
			for b.Loop() {
				_ = policy.Check(b.Context(), principal, "read", record)
			}
		})
	}
}

// BenchmarkActor is a check by a principal that is bound already.
func BenchmarkActor(b *testing.B) {
	for _, n := range benchSizes {
		b.Run(fmt.Sprintf("policies=%d", n), func(b *testing.B) {
			policy, principal, record := benchPolicy(b, n)
			ann, err := policy.For(principal)
			require.NoError(b, err)
			b.ReportAllocs()
			for b.Loop() {
				if ann.Check(b.Context(), "read", record) != nil {
					b.Fatal("the record must be permitted")
				}
			}
		})
	}
}

func BenchmarkFilter(b *testing.B) {
	for _, n := range benchSizes {
		b.Run(fmt.Sprintf("policies=%d", n), func(b *testing.B) {
			policy, principal, _ := benchPolicy(b, n)
			b.ReportAllocs()
			for b.Loop() {
				_, _ = policy.Filter(b.Context(), principal, "read", "item")
			}
		})
	}
}

// BenchmarkCedarAuthorize is the peer: the same question without an index and
// without the conversion of principal and record.
func BenchmarkCedarAuthorize(b *testing.B) {
	for _, n := range benchSizes {
		b.Run(fmt.Sprintf("policies=%d", n), func(b *testing.B) {
			policies, err := cedar.NewPolicySetFromBytes("many.cedar", []byte(many(n)))
			require.NoError(b, err)
			user, role, item := cedar.NewEntityUID("User", "ann"), cedar.NewEntityUID("Role", "r1"), cedar.NewEntityUID("Item", "i")
			entities := cedar.EntityMap{
				user: {UID: user, Parents: cedar.NewEntityUIDSet(role)},
				item: {UID: item, Attributes: cedar.NewRecord(cedar.RecordMap{"owner": user, "stage": cedar.String("open")})},
			}
			request := cedar.Request{Principal: user, Action: cedar.NewEntityUID("Action", "read"), Resource: item}
			b.ReportAllocs()
			for b.Loop() {
				if decision, _ := cedar.Authorize(policies, entities, request); decision != cedar.Allow {
					b.Fatal("the peer must permit")
				}
			}
		})
	}
}

func BenchmarkReload(b *testing.B) {
	for _, n := range []int{100, 1_000} {
		b.Run(fmt.Sprintf("policies=%d", n), func(b *testing.B) {
			policy, _, _ := benchPolicy(b, n)
			config := manyConfig(n)
			for b.Loop() {
				_ = policy.Reload(b.Context(), config)
			}
		})
	}
}
