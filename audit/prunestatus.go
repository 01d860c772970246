package audit

import "context"

// prunedFinding says how many entries went with retention, where any did.
func (t *Trail) prunedFinding(ctx context.Context, s state) ([]Finding, error) {
	if s.pruned == 0 {
		return nil, nil
	}
	f := Finding{Name: "audit.pruned", Value: float64(s.pruned), Unit: "entries"}
	left, err := t.leftBelow(ctx, s.pruned)
	if left {
		f.Level, f.Remedy = HealthNotice, "rows of entries that went with retention are still there, or back: unless a Prune is at work, call it again"
	}
	return []Finding{f}, err
}
