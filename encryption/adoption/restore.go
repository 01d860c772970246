package adoption

import (
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/crmguard/crmguard/internal/sqldb"
)

// restoring is what brings one thing back: statements, or of MariaDB and MySQL what the
// column had, where it comes back only by saying the whole column again. That is said of
// the column as it will be by then: the application may have made it wider.
type restoring struct {
	Of       string   `json:"of"`
	SQL      []string `json:"sql,omitempty"`
	Column   string   `json:"column,omitempty"`
	Clause   string   `json:"clause,omitempty"`
	Revision int64    `json:"revision"`
}

// restoreJob keeps what brings back what was dropped, in the order of dropping.
const restoreJob = "restore"

// remember adds to what RestoreSQL returns. Of two refusals at one stage the first
// knows how it was: by the second, half of it may have been dropped.
func (m *moving) remember(ctx context.Context, more []restoring) error {
	if len(more) == 0 {
		return nil
	}
	known, err := m.restoring(ctx, m.row.tenant)
	if err != nil {
		return err
	}
	changed := false
	for _, one := range more {
		one.Revision = m.row.revision
		at := slices.IndexFunc(known, func(k restoring) bool { return k.Of == one.Of })
		switch {
		case len(one.SQL) == 0 && one.Clause == "":
		case at < 0:
			known, changed = append(known, one), true
		case known[at].Revision != one.Revision:
			known, changed = append(slices.Delete(known, at, at+1), one), true
		}
	}
	if !changed {
		return nil
	}
	text, err := json.Marshal(known)
	if err != nil {
		return fmt.Errorf("adoption: %w", err)
	}
	return m.saveJob(ctx, m.row.tenant, jobRow{job: restoreJob, revision: m.row.revision, counts: string(text), began: m.terms.Now(), updated: m.terms.Now()})
}

func (a *Adoption) restoring(ctx context.Context, tenant string) (out []restoring, err error) {
	j, err := a.readJob(ctx, tenant, restoreJob)
	if err != nil || j.counts == "" {
		return nil, err
	}
	if err := json.Unmarshal([]byte(j.counts), &out); err != nil {
		return nil, fmt.Errorf("adoption: the recorded statements of %s are damaged: %w", a.def.Name, err)
	}
	return out, nil
}

// RestoreSQL returns the statements that bring back what [Adoption.Obstacles] and
// moves had asked to drop or change, for after the way back to Plain: those of all
// refusals, each as it was before the first one, what was dropped last first. On MariaDB
// and MySQL NOT NULL and the CHECK of a column are said with the whole column, as it is
// when RestoreSQL is asked: execute them at once. What was not dropped in the end is
// there already: its statement changes nothing, or the database says so. NOT NULL comes
// back only where no row was emptied meanwhile (ClearRows, ClearErased): delete these
// rows first, or give them a value.
func (a *Adoption) RestoreSQL(ctx context.Context, tenant string) (out []string, err error) {
	known, err := a.restoring(ctx, tenant)
	if err != nil {
		return nil, err
	}
	slices.Reverse(known)
	if slices.ContainsFunc(known, func(one restoring) bool { return one.Clause != "" }) {
		if out, err = a.columnsAgain(ctx, known); err != nil {
			return nil, err
		}
	}
	for _, one := range known {
		out = append(out, one.SQL...)
	}
	return out, nil
}

// columnsAgain says each column once, with all that comes back to it.
func (a *Adoption) columnsAgain(ctx context.Context, known []restoring) (out []string, err error) {
	l := &live{Adoption: a}
	if l.sql, err = a.db.Quote(a.def.SQL); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDefinition, err)
	}
	all, err := a.shown(ctx, sqldb.ColumnPart)
	for _, part := range all {
		bare, clause := part.Bare, checkOn(part)
		named := false
		for _, one := range known {
			if one.Clause == "" || !strings.EqualFold(one.Column, part.Name) {
				continue
			}
			named = true
			if one.Clause == notNullClause {
				bare = withNotNull(bare)
			} else if clause == "" {
				clause = one.Clause
			}
		}
		if named {
			out = append(out, l.modify(bare+clause))
		}
	}
	return out, err
}

const notNullClause = " NOT NULL"

// checkOn is the CHECK that stands in the line of a column; "" is none.
func checkOn(part sqldb.Part) string {
	if part.In == "" {
		return ""
	}
	return " CHECK (" + part.In + ")"
}

// Behind type, character set and collation, which are no free text.
var (
	beforeNULL  = regexp.MustCompile(` (?:NOT NULL|NULL|INVISIBLE|DEFAULT|ON UPDATE|COMMENT|/\*)`)
	defaultNULL = regexp.MustCompile(`^(?: NULL)?( INVISIBLE)?(?: DEFAULT NULL)?`)
)

// withNotNull is the line of a column that takes no NULL, and has none by default.
func withNotNull(bare string) string {
	name := beyond(bare, 0)
	end := len(bare)
	if at := beforeNULL.FindStringIndex(bare[name:]); at != nil {
		end = name + at[0]
	}
	if strings.HasPrefix(bare[end:], notNullClause) {
		return bare
	}
	return bare[:end] + notNullClause + defaultNULL.ReplaceAllString(bare[end:], "$1")
}
