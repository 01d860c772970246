package sqlstore

import (
	"context"

	"github.com/crmguard/crmguard/privacy/datastore"
)

// Unshared are those of the scope's identities that are nobody else's by now: by
// what the person was known, and may have signed up with anew, or somebody else
// has, since their own rows are gone. A [SharedIdentityError] comes with them where
// there are others, unless Config.LeaveShared.
func (s *Store) Unshared(ctx context.Context, scope datastore.Scope) (map[string][]string, error) {
	k := seeker{Scope: scope}
	if err := s.search(ctx, &k); err != nil {
		return nil, err
	}
	seekers := []seeker{k}
	for _, alias := range scope.Aliases {
		other := scope
		other.Person, other.Identities = alias, nil
		seekers = append(seekers, seeker{Scope: other})
	}
	found, err := s.find(ctx, s.db, seekers, s.listing(), nil)
	if err != nil {
		return nil, err
	}
	left := map[string][]string{}
	var shared error
	for kind, values := range scope.Identities {
		for _, text := range values {
			elsewhere, err := s.elsewhere(ctx, scope, kind, text, found)
			switch {
			case err != nil:
				return nil, err
			case elsewhere == "":
				left[kind] = append(left[kind], text)
			case !s.cfg.LeaveShared:
				shared = &SharedIdentityError{kind, elsewhere}
			}
		}
	}
	return left, shared
}
