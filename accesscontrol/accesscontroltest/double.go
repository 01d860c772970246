// Package accesscontroltest holds doubles for the tests of applications that
// take an [accesscontrol.Policy].
//
// # Promises
//
// A double answers as a policy would that was loaded from the same schema and
// tables: unknown actions, attributes and types are errors, and the tenant is
// compared.
//
// # Not promised
//
// Anything about the policies of the application: test those themselves.
//
// # Which call first
//
// [AllowAll] or [DenyAll], with the Config of the application.
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
// None of its own. Settling: the Go API may change until v0.1.0.
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
