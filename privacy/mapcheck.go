package privacy

import (
	"context"
	"errors"
	"sync"
	"time"
)

// ErrUnmapped says that the live schema holds what the data map does not know,
// or is otherwise not what the map says: an erasure by it would be certified for
// less than there is. The text lists the findings.
var ErrUnmapped = errors.New("privacy: the data map does not fit the live schema: mend the map, and run liveschema.Check in a test")

// mapAge is how old the last look at the live schema may be when an erasure
// begins.
const mapAge = time.Minute

// mapCheck remembers when the map was last seen to fit.
type mapCheck struct {
	mu sync.Mutex
	at time.Time
}

// mapped compares the map with the live schema, unless that was done a moment
// ago.
func (d *Desk) mapped(ctx context.Context) error {
	now := d.now()
	d.checked.mu.Lock()
	age := now.Sub(d.checked.at)
	d.checked.mu.Unlock()
	if age >= 0 && age < mapAge {
		return nil
	}
	findings, err := d.schema.Check(ctx, d.cfg.Map)
	if err != nil {
		return mute("comparing the data map with the live schema", err)
	}
	if err := findings.Err(); err != nil {
		return errors.Join(ErrUnmapped, err)
	}
	d.checked.mu.Lock()
	d.checked.at = now
	d.checked.mu.Unlock()
	return nil
}
