package audit

import "context"

// LetSalesIn is what the sequencer does between two batches.
func (t *Trail) LetSalesIn(ctx context.Context) error { return t.letSalesIn(ctx) }

// LetIn is how long that takes while sales come.
const LetIn = letIn
