// Package accesscontroltest is for the tests of applications that take an
// [accesscontrol.Policy]: doubles of it, and tests of their own policies from
// files.
//
//	//go:embed *.cedartest
//	var tests embed.FS
//
//	func TestPolicies(t *testing.T) { accesscontroltest.Run(t, policy, tests) }
//
// # Promises
//
// A double answers as a policy would that was loaded from the same schema and
// tables: unknown actions, attributes and types are errors, and the tenant is
// compared. A file of tests is read whole, or fails.
//
// # Not promised
//
// A double says nothing about the policies of the application: [Run] does, and
// only about what its files ask.
//
// # Which call first
//
// [AllowAll] or [DenyAll], with the Config of the application; [Run] with its
// policy.
//
// # Concurrency
//
// What they return is an [accesscontrol.Policy], safe for concurrent use.
//
// # Errors
//
// A schema or tables that do not load end the test through tb.Fatalf; all else
// is as in package accesscontrol.
//
// # Format and compatibility
//
// A *.cedartest file is JSON; [Run] says what stands in it. Settling: the Go API
// and the files may change until v0.1.0.
package accesscontroltest

import (
	"testing"

	"github.com/crmguard/crmguard/accesscontrol"
)

// AllowAll is a policy with the schema and the tables of config that permits
// every declared action on every record of the principal's own tenant. The
// policies of config are left out. What is asked must still make sense:
// unknown actions, attributes and types are errors, as they are in production.
func AllowAll(tb testing.TB, config accesscontrol.Config) *accesscontrol.Policy {
	tb.Helper()
	return load(tb, config, `@id("allow-all") permit (principal, action, resource);`)
}

// DenyAll is AllowAll's opposite: no policy permits anything.
func DenyAll(tb testing.TB, config accesscontrol.Config) *accesscontrol.Policy {
	tb.Helper()
	return load(tb, config, "")
}

func load(tb testing.TB, config accesscontrol.Config, text string) *accesscontrol.Policy {
	tb.Helper()
	policy, err := accesscontrol.Load(tb.Context(), config.Replaced(text))
	if err != nil {
		tb.Fatalf("accesscontroltest: schema and tables must load: %v", err)
	}
	return policy
}
