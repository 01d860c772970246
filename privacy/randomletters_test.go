package privacy_test

import (
	"context"
	"iter"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/crmguard/crmguard/privacy/datastore"
)

// letters are a store that knows persons by their addresses alone, each of which
// has one letter there.
type letters struct {
	j    *job
	all  []letter
	keys int
}

type letter struct {
	key     string
	tenant  string
	address string
}

// put puts a letter to the address, where there is none.
func (s *letters) put(tenant, address string) {
	if !s.has(tenant, address) {
		s.keys++
		s.all = append(s.all, letter{strconv.Itoa(s.keys), tenant, address})
	}
}

func (s *letters) drop(tenant, address string) {
	s.all = slices.DeleteFunc(s.all, func(l letter) bool { return l.tenant == tenant && l.address == address })
}

func (s *letters) has(tenant, address string) bool {
	return slices.ContainsFunc(s.all, func(l letter) bool { return l.tenant == tenant && l.address == address })
}

func (s *letters) Name() string { return "letters" }

func (s *letters) Find(_ context.Context, scope datastore.Scope) (rows []datastore.Row, err error) {
	if err := s.j.moment(true); err != nil {
		return nil, err
	}
	for _, l := range s.all {
		for _, address := range scope.Identities["email"] {
			if l.tenant == scope.Tenant && l.address == strings.ToLower(address) {
				rows = append(rows, datastore.Row{Table: "letters", Key: l.key, Class: datastore.Deleted, Created: time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)})
			}
		}
	}
	return rows, nil
}

func (s *letters) Export(context.Context, datastore.Scope) iter.Seq2[datastore.Record, error] {
	return func(func(datastore.Record, error) bool) {}
}

func (s *letters) Erase(ctx context.Context, scope datastore.Scope, found []datastore.Row) error {
	rows, err := s.Find(ctx, scope)
	if err != nil {
		return err
	}
	rows = append(rows, found...)
	s.all = slices.DeleteFunc(s.all, func(l letter) bool {
		return l.tenant == scope.Tenant && slices.ContainsFunc(rows, func(r datastore.Row) bool { return r.Key == l.key })
	})
	return s.j.moment(true)
}

func (s *letters) Remaining(ctx context.Context, scope datastore.Scope, found []datastore.Row) (int, error) {
	rows, err := s.Find(ctx, scope)
	left := map[string]bool{}
	for _, r := range append(rows, found...) {
		if slices.ContainsFunc(s.all, func(l letter) bool { return l.key == r.Key }) {
			left[r.Key] = true
		}
	}
	return len(left), err
}
