package privacy

import (
	"context"
	"errors"
)

// PlanError says which plan an error of [Desk.EraseMany] is about.
type PlanError struct {
	Plan string
	Err  error
}

// Error names the plan.
func (e *PlanError) Error() string { return "plan " + e.Plan + ": " + e.Err.Error() }

// Unwrap returns what [Desk.Execute] answered.
func (e *PlanError) Unwrap() error { return e.Err }

// EraseMany executes plans one after the other. What became of each stands at
// its place; one that failed has no State, and its [*PlanError] is among those
// joined. It stops at the daily cap ([ErrTooMany]), which is said once, and when
// ctx ends.
func (d *Desk) EraseMany(ctx context.Context, plans []string) ([]Outcome, error) {
	outcomes := make([]Outcome, len(plans))
	var failed []error
	for i, plan := range plans {
		o, err := d.Execute(ctx, plan)
		o.Plan, outcomes[i] = plan, o
		outcomes[i].Plan = plan
		if err != nil {
			failed = append(failed, &PlanError{plan, err})
		}
		if errors.Is(err, ErrTooMany) || ctx.Err() != nil {
			break
		}
	}
	return outcomes, errors.Join(failed...)
}
