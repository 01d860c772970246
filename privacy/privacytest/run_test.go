package privacytest_test

import (
	"context"
	"iter"
	"testing"

	"github.com/crmguard/crmguard/privacy/datastore"
	"github.com/crmguard/crmguard/privacy/privacytest"
)

func TestAFuncPasses(t *testing.T) {
	privacytest.Run(t, func(*testing.T) privacytest.Fixture {
		held := map[datastore.Person]int{}
		return privacytest.Fixture{
			Tenants: [2]string{"main", "second"},
			Plant:   func(_ *testing.T, tenant, person string) { held[datastore.Person{Tenant: tenant, ID: person}]++ },
			Store: datastore.Func{
				Name: "cache", Class: datastore.Deleted,
				Erase: func(_ context.Context, tenant, person string) error {
					delete(held, datastore.Person{Tenant: tenant, ID: person})
					return nil
				},
				Remaining: func(_ context.Context, tenant, person string) (int, error) {
					return held[datastore.Person{Tenant: tenant, ID: person}], nil
				},
				Export: func(_ context.Context, tenant, person string) iter.Seq2[datastore.Record, error] {
					return func(yield func(datastore.Record, error) bool) {
						if held[datastore.Person{Tenant: tenant, ID: person}] > 0 {
							yield(datastore.Record{Table: "cache"}, nil)
						}
					}
				},
				People: func(context.Context) iter.Seq2[datastore.Person, error] {
					return func(yield func(datastore.Person, error) bool) {
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
