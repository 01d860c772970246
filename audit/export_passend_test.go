package audit

// PublishEach sets how many events a pass files between two checkpoints.
func (t *Trail) PublishEach(n int) { t.publishEach = n }
