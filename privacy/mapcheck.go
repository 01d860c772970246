package privacy

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/crmguard/crmguard/internal/sqldb"
	"github.com/crmguard/crmguard/privacy/liveschema"
)

// ErrUnmapped says that the live schema holds what the data map does not know,
// or is otherwise not what the map says: an erasure by it would be certified for
// less than there is. The text lists the findings.
var ErrUnmapped = errors.New("privacy: the data map does not fit the live schema: mend the map, and run liveschema.Check in a test")

// mapAge is how old the last look at the live schema may be when an erasure
// begins.
const mapAge = time.Minute

// mapCheck remembers when the map was last seen to fit, and what was seen besides.
type mapCheck struct {
	mu     sync.Mutex
	at     time.Time
	copies []string // what keeps what is erased for a time, for the certificate
}

// kept are those.
func (c *mapCheck) kept() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.copies)
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
	copies, err := d.copies(ctx, findings)
	if err != nil {
		return mute("asking the database what it keeps", err)
	}
	d.checked.mu.Lock()
	d.checked.at, d.checked.copies = now, copies
	d.checked.mu.Unlock()
	return nil
}

// copies are what keeps for a time what is erased: of the schema, and of SQLite's
// file where it was not opened with secure_delete, or keeps its journal.
func (d *Desk) copies(ctx context.Context, findings liveschema.Findings) (list []string, err error) {
	for _, f := range findings {
		switch f.Kind {
		case liveschema.HoldsCopy:
			list = append(list, "materialized view "+f.Table+", until it is refreshed")
		case liveschema.WordsKept:
			list = append(list, "words in the full-text index of "+f.Table)
		default:
		}
	}
	if d.db.Kind != sqldb.SQLite {
		return list, nil
	}
	var deletes int
	var journal string
	err = errors.Join(sqldb.One(ctx, d.db, []any{&deletes}, `PRAGMA secure_delete`), sqldb.One(ctx, d.db, []any{&journal}, `PRAGMA journal_mode`))
	if deletes != 1 {
		list = append(list, "what SQLite keeps of deleted rows in its file until it overwrites them: secure_delete is not on")
	}
	if journal == "persist" {
		list = append(list, "pages as they were in SQLite's journal, which journal_mode PERSIST keeps")
	}
	return list, err
}
