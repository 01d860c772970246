package privacy

import (
	"context"
	"maps"

	"github.com/crmguard/crmguard/privacy/datastore"
	"github.com/crmguard/crmguard/privacy/erasurelog"
)

// Where person ids or keys of rows are numbers that the database gives out, a
// restore makes it give out again what erased persons had: the newcomer would be
// taken for them. The ledger knows the highest numbers as they were at the last
// erasure; what came later the application knows elsewhere (Config.Highest).

// numbersBehind are the columns, as schema.table.column, whose counter is behind
// the highest number known, with that number.
func (d *Desk) numbersBehind(ctx context.Context, s *erasurelog.State) (map[string]int64, error) {
	behind := map[string]int64{}
	known, err := d.highest(ctx, s)
	if err != nil || len(known) == 0 {
		return behind, err
	}
	for _, store := range d.stores() {
		numbered, ok := store.(datastore.Numbered)
		if !ok {
			continue
		}
		tops, err := ask(ctx, d, store.Name(), "tops", aboutReplay, numbered.Tops)
		if err != nil {
			return nil, err
		}
		for column, top := range tops {
			if n, ok := known[column]; ok && n > top {
				behind[column] = n
			}
		}
	}
	return behind, nil
}

// highest are the highest numbers that the ledger and the application know.
func (d *Desk) highest(ctx context.Context, s *erasurelog.State) (map[string]int64, error) {
	known := maps.Clone(s.Tops())
	if d.cfg.Highest == nil {
		return known, nil
	}
	more, err := d.cfg.Highest(ctx)
	if err != nil {
		return nil, mute("asking for the highest numbers", err)
	}
	if known == nil {
		known = map[string]int64{}
	}
	for column, n := range more {
		known[column] = max(n, known[column])
	}
	return known, nil
}

// advance moves the counters past what is known, and looks whether they are.
func (d *Desk) advance(ctx context.Context, s *erasurelog.State, behind map[string]int64) error {
	if len(behind) == 0 {
		return nil
	}
	for _, store := range d.stores() {
		if numbered, ok := store.(datastore.Numbered); ok {
			err := tell(ctx, d, store.Name(), "advance", aboutReplay, func(ctx context.Context) error { return numbered.Advance(ctx, behind) })
			if err != nil {
				return err
			}
		}
	}
	behind, err := d.numbersBehind(ctx, s)
	if err == nil && len(behind) > 0 {
		err = ErrNumbers
	}
	return err
}
