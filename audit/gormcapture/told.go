package gormcapture

import (
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"gorm.io/gorm"

	"github.com/crmguard/crmguard/audit"
)

// told is an event that a hook recorded: it stands for the row that it names.
type told struct {
	object audit.Object
	id     string
}

// untold leaves out the rows for which the event of a hook stands: one of that very
// row, and one that is there: a savepoint may have taken it back.
func (s *statement) untold(db *gorm.DB, events []audit.Event) ([]audit.Event, error) {
	stands := map[audit.Object]bool{}
	for _, one := range s.told {
		names := func(e audit.Event) bool { return e.Object == one.object }
		if one.object.Kind == "" || stands[one.object] || !slices.ContainsFunc(events, names) {
			continue
		}
		there, err := s.isThere(db, one.id)
		if err != nil {
			return nil, err
		}
		stands[one.object] = there
	}
	return slices.DeleteFunc(events, func(e audit.Event) bool { return stands[e.Object] }), nil
}

// isThere says whether an event stands in this transaction. A role that records may
// read the ids of events.
func (s *statement) isThere(db *gorm.DB, id string) (bool, error) {
	raw, err := hex.DecodeString(strings.ReplaceAll(id, "-", ""))
	if err != nil {
		return false, fmt.Errorf("gormcapture: the id of an event: %w", err)
	}
	var ids [][]byte
	err = s.session(db, db.Statement.ConnPool).Table("crmguard_audit_events").Where("id = ?", raw).Pluck("id", &ids).Error
	return len(ids) > 0, err
}
