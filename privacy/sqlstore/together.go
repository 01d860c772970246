package sqlstore

import (
	"context"

	"github.com/crmguard/crmguard/internal/value"
)

// together says of joint records whose persons are all among the seekers that they
// go, with what hangs on them: with the last of them, as an erasure does it, which
// takes one behind the other.
func (f *finding) together(ctx context.Context) error {
	if !f.prepared.together || len(f.seekers) < 2 {
		return nil
	}
	joint := map[rowID][]*located{}
	for _, l := range f.found {
		if l.others {
			joint[l.id()] = append(joint[l.id()], l)
		}
	}
	more := false
	for _, rows := range joint {
		last := rows[0]
		for _, l := range rows {
			if l.scope > last.scope {
				last = l
			}
		}
		stored, _ := last.get(otherPersonsRead)
		v, err := value.Scanned(stored)
		if err != nil {
			return dbError("find", last.e.Name, err)
		}
		others, err := v.Integer()
		if err != nil {
			return dbError("find", last.e.Name, err)
		}
		if others >= int64(len(rows)) {
			continue
		}
		last.others, more = false, true
		if err := f.gives(last, last.scope, false); err != nil {
			return err
		}
	}
	if !more {
		return nil
	}
	return f.follow(ctx)
}
