package keyring

import (
	"context"
	"maps"

	"github.com/crmguard/crmguard/encryption/keystore"
)

// Survivors says of each owner that was merged who they are now: whom they were
// merged into, and that one, and so on.
func (v *Ring) Survivors(ctx context.Context, tenant string, found map[string]*Owner) (map[string]string, error) {
	// Afresh: a merge that was taken back within the lease moves no row that was
	// written since.
	var merged []string
	for owner, o := range found {
		if o.merged {
			merged = append(merged, owner)
		}
	}
	if len(merged) > 0 {
		now, err := v.Fetch(ctx, tenant, merged)
		if err != nil {
			return nil, err
		}
		maps.Copy(found, now)
	}
	known, out := map[string]*Owner{}, map[string]string{}
	for owner, o := range found {
		known[owner] = o
		if o.merged {
			out[owner] = o.into
		}
	}
	// However often one was merged into the next. AddAlias makes no circles; one
	// that stands there all the same is left when nobody new is met.
	for steps := 0; steps <= len(known); steps++ {
		var ask []string
		for _, into := range out {
			if known[into] == nil {
				ask = append(ask, into)
			}
		}
		if len(ask) > 0 {
			more, err := v.Fetch(ctx, tenant, ask)
			if err != nil {
				return nil, err
			}
			for _, into := range ask {
				known[into] = more[into]
				if known[into] == nil {
					known[into] = &Owner{State: keystore.Live} // AddAlias made a row; without one there is nobody to climb to
				}
			}
		}
		again := false
		for owner, into := range out {
			if o := known[into]; o.merged && o.into != owner && o.into != into {
				out[owner] = o.into
				again = true
			}
		}
		if !again {
			break
		}
	}
	return out, nil
}
