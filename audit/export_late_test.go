package audit

import "time"

// LateFor sets how long Run waits for a sink that is behind.
func (t *Trail) LateFor(d time.Duration) { t.lateFor = d }
