package privacytest_test

import (
	"context"
	"iter"
	"testing"

	"github.com/crmguard/crmguard/privacy"
	"github.com/crmguard/crmguard/privacy/privacytest"
)

func TestAFuncPasses(t *testing.T) {
	privacytest.Run(t, func(*testing.T) privacytest.Fixture {
		held := map[privacy.Person]int{}
		return privacytest.Fixture{
			Tenants: [2]string{"main", "second"},
			Plant:   func(_ *testing.T, tenant, person string) { held[privacy.Person{Tenant: tenant, ID: person}]++ },
			Store: privacy.Func{
				Name: "cache", Class: privacy.Deleted,
				Erase: func(_ context.Context, tenant, person string) error {
					delete(held, privacy.Person{Tenant: tenant, ID: person})
					return nil
				},
				Left: func(_ context.Context, tenant, person string) (int, error) {
					return held[privacy.Person{Tenant: tenant, ID: person}], nil
				},
				Export: func(_ context.Context, tenant, person string) iter.Seq2[privacy.Record, error] {
					return func(yield func(privacy.Record, error) bool) {
						if held[privacy.Person{Tenant: tenant, ID: person}] > 0 {
							yield(privacy.Record{Table: "cache"}, nil)
						}
					}
				},
				People: func(context.Context) iter.Seq2[privacy.Person, error] {
					return func(yield func(privacy.Person, error) bool) {
						for p := range held {
							if !yield(p, nil) {
								return
							}
						}
					}
				},
			}.Store(),
		}
	})
}
