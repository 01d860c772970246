package audit

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/crmguard/crmguard/audit/internal/c2sp"
)

// What the log says of retention is done to a database that came back before it is
// level with the log: whoever is stopped in between finds it behind, and begins anew.
// The word alone is no leave: what was not done yet keeps to a hold that came since.

// pruneAgain does to a database what the log says of retention: in what is about to
// be read back or, where that says nothing, before. The database has what is known.
func (t *Trail) pruneAgain(ctx context.Context, in toldLog, known func() tlog.Tree) error {
	told := in.to
	s, err := t.state(ctx, t.db)
	if err == nil && told == 0 {
		told, err = t.lastTold(ctx, s)
	}
	if err == nil {
		told, err = t.goesAgain(ctx, s, told, in.behind)
	}
	if err != nil {
		return err
	}
	if told > s.pruned {
		if err := t.markPruned(ctx, told, known); err != nil {
			return err
		}
	}
	left, err := t.leftBelow(ctx, max(told, s.pruned))
	if err == nil && left {
		err = t.clear(ctx, &PruneReport{})
	}
	if len(in.rules) > 0 {
		_, errRules := t.dropRuled(ctx, in.rules)
		err = errors.Join(err, errRules)
	}
	if err != nil {
		return fmt.Errorf("prune again: %w", err)
	}
	return nil
}

// errKeeps marks that a sink keeps what went with retention.
var errKeeps = errors.New("audit: prune: a sink keeps what went")

// retentionWaits says whether a restore goes on without what retention could not take: a job
// with the rights for it, and the sinks that are to forget, may come later.
func retentionWaits(err error) bool {
	return errors.Is(err, fs.ErrPermission) || errors.Is(err, errMirror) || errors.Is(err, errKeeps)
}

// goesAgain is up to where retention goes that the log tells of, of what the database
// has: nothing that has a hold (Config.Hold), nor anything behind it, but for what the
// published log has lost to it already. That counts where the database is behind: of
// one that is level the mark says what was done, and a file that is not there may be an
// accident. The next [Trail.Prune] takes the word back then.
func (t *Trail) goesAgain(ctx context.Context, s state, told int64, behind bool) (int64, error) {
	if t.config.Hold == nil {
		return told, nil
	}
	told = min(told, s.N/c2sp.TileWidth*c2sp.TileWidth) // the rest is asked about when it is back
	reader := t.rows(t.db).Reader(ctx, s.Tree)
	free, lost, to := make(map[string]bool), behind, s.pruned
	for n := s.pruned / c2sp.TileWidth; n*c2sp.TileWidth < told; n++ {
		if lost {
			var err error
			if lost, err = t.bundleLost(ctx, n); err != nil {
				return to, err
			}
		}
		if !lost {
			held, err := t.heldIn(ctx, reader, n, free)
			if err != nil || held {
				return to, err
			}
		}
		to = (n + 1) * c2sp.TileWidth
	}
	return to, nil
}

// lostTo is up to where the published log has lost what it tells to go, of what a
// database lacks: all of that, where nobody has a hold. What it still has is read back
// first, because the hold of an entry is asked for by its tenant.
func (t *Trail) lostTo(ctx context.Context, s state, told int64) (int64, error) {
	if t.config.Hold == nil {
		return told, nil
	}
	n := s.N / c2sp.TileWidth
	for n*c2sp.TileWidth < told {
		if lost, err := t.bundleLost(ctx, n); err != nil {
			return 0, err
		} else if !lost {
			break
		}
		n++
	}
	return min(told, n*c2sp.TileWidth), nil
}

// bundleLost says whether the published log does not have a bundle.
func (t *Trail) bundleLost(ctx context.Context, n int64) (bool, error) {
	_, err := t.config.Sink.ReadFile(ctx, c2sp.TilePath(c2sp.Tile(-1, n, c2sp.TileWidth)))
	if errors.Is(err, fs.ErrNotExist) {
		return true, nil
	}
	return false, err
}

// heldIn says whether the rows that are there of a bundle are of a tenant with a hold,
// or may be: what Config.Hold fails for stays.
func (t *Trail) heldIn(ctx context.Context, reader tlog.HashReader, n int64, free map[string]bool) (bool, error) {
	for from, end := n*c2sp.TileWidth, (n+1)*c2sp.TileWidth; ; {
		rows, err := t.entryRows(ctx, t.db, from, end, c2sp.TileWidth)
		if err != nil || len(rows) == 0 {
			return false, err
		}
		from = rows[len(rows)-1].idx + 1
		for i := range rows {
			leaf, err := t.provenLeaf(reader, &rows[i])
			if err != nil {
				return false, err
			}
			if held, err := t.mayBeHeld(ctx, leaf.Tenant, free); err != nil || held {
				return held, err
			}
		}
	}
}

// mayBeHeld says whether a tenant has a hold, or nobody can tell. An error is one of
// the context alone.
func (t *Trail) mayBeHeld(ctx context.Context, tenant string, free map[string]bool) (bool, error) {
	held, err := t.held(ctx, tenant, free)
	if ctx.Err() != nil {
		return true, ctx.Err()
	}
	return held != "" || err != nil, nil
}

// rulesAgain are the rules of openings that are done again to a database which is
// about to read back what the log tells: its own, which were perhaps not done when the
// backup was made, and those that come. Those of a tenant with a hold are not, nor its own
// where somebody has changed one: a changed row ends no restore.
func (t *Trail) rulesAgain(ctx context.Context, s state, come []openingRule) ([]openingRule, error) {
	var tenants []string
	if err := t.query(ctx, t.db, func(rows answer) error {
		var tenant string
		err := rows.Scan(&tenant)
		tenants = append(tenants, tenant)
		return err
	}, `SELECT DISTINCT tenant FROM crmguard_audit_surrogates`); err != nil { // all about whom something can be sealed
		return nil, err
	}
	var out []openingRule
	free := make(map[string]bool)
	for _, r := range come {
		held, err := t.mayBeHeld(ctx, r.tenant, free)
		if err != nil {
			return nil, err
		}
		if !held {
			out = append(out, r)
		}
	}
	for _, tenant := range tenants {
		own, err := t.rulesFree(ctx, s, tenant, free)
		if err != nil {
			return nil, err
		}
		out = append(out, own...)
	}
	return out, nil
}

// markOf is the mark of a state row that is made anew, of what the log tells: no
// further than rows are gone, because whether the rest was to go nobody knows any more.
func (t *Trail) markOf(ctx context.Context, told int64) (int64, error) {
	var first *int64
	if _, err := t.one(ctx, t.db, []any{&first}, `SELECT MIN(idx) FROM crmguard_audit_entries WHERE idx >= 0`); err != nil || first == nil {
		return told, err
	}
	return min(told, (*first+c2sp.TileWidth-1)/c2sp.TileWidth*c2sp.TileWidth), nil
}
