package roles

import (
	"context"
	"crypto/rand"
	"iter"
)

// GiveMany is Bootstrap for many, in one change and without its rules.
func GiveMany(ctx context.Context, s *Store, tenant string, all iter.Seq[Assignment]) error {
	return s.change(ctx, tenant, func(c *changing) error {
		for a := range all {
			a.By = Operator
			r, err := newRow(a)
			if err != nil {
				return err
			}
			r.id = rand.Text()
			if err := c.insert(ctx, r); err != nil {
				return err
			}
		}
		return nil
	})
}
