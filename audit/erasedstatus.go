package audit

import "context"

// erasedFinding counts the persons whom this process has erased, and who are
// recorded again.
func (t *Trail) erasedFinding(ctx context.Context) (Finding, error) {
	f := Finding{Name: "audit.erased", Unit: "persons"}
	n, since, err := t.recordedAgain(ctx)
	if err != nil {
		return f, err
	}
	if f.Value = float64(n); n > 0 {
		f.Level, f.Since = HealthNotice, since
		f.Remedy = "persons were recorded again after their erasure, mostly by the deletion of their rows: delete those first, then call Erase, and again now for whom Left is not 0"
	}
	return f, nil
}
