package adoption

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/crmguard/crmguard/internal/sqldb"
)

// jobRow is the recorded progress of a job.
type jobRow struct {
	job      string
	revision int64  // of the stage that it belongs to
	place    string // cursor behind the last row that is done; "" at the beginning and the end
	counts   string
	began    time.Time
	updated  time.Time
}

// readJob reads the row of a job; a zero one where there is none.
func (a *Adoption) readJob(ctx context.Context, tenant, job string) (j jobRow, err error) {
	j.job = job
	err = a.db.Read(ctx, func(q sqldb.Querier) error {
		var began, updated int64
		err := sqldb.One(ctx, q, []any{&j.revision, &j.place, &j.counts, &began, &updated},
			a.db.Bind(`SELECT revision, place, counts, began, updated FROM crmguard_adoption_job WHERE tenant = ? AND tab = ? AND job = ?`), tenant, a.def.Name, job)
		j.began, j.updated = time.UnixMicro(began), time.UnixMicro(updated)
		return err
	})
	if errors.Is(err, sql.ErrNoRows) {
		return jobRow{job: job}, nil
	}
	if err != nil {
		return j, fmt.Errorf("adoption: progress of %s: %w", a.def.Name, sqldb.Safe(err))
	}
	return j, nil
}

func (a *Adoption) saveJob(ctx context.Context, tenant string, j jobRow) error {
	err := a.db.For("crmguard_adoption_job").Write(ctx, func(tx *sql.Tx) error {
		return a.db.Insert(ctx, tx, sqldb.Insert{
			Table:   "crmguard_adoption_job",
			Columns: []string{"tenant", "tab", "job", "revision", "place", "counts", "began", "updated"},
			Key:     []string{"tenant", "tab", "job"}, Replace: true,
		}, [][]any{{tenant, a.def.Name, j.job, j.revision, j.place, j.counts, j.began.UnixMicro(), j.updated.UnixMicro()}})
	})
	if err != nil {
		return fmt.Errorf("adoption: progress of %s: %w", a.def.Name, err)
	}
	return nil
}

// placeValue is one value of a cursor, with its type: 7 and "7" are two keys of
// SQLite.
type placeValue struct {
	Text   []byte   `json:"t,omitempty"`
	Empty  string   `json:"e,omitempty"` // "t" or "b": text or bytes without any
	Bytes  []byte   `json:"b,omitempty"`
	Int    *int64   `json:"i,omitempty"`
	Uint   *uint64  `json:"u,omitempty"`
	Number *float64 `json:"f,omitempty"`
}

func placeText(cursor []any) (string, error) {
	out := make([]placeValue, len(cursor))
	for i, v := range cursor {
		switch v := v.(type) {
		case string:
			out[i].Text = []byte(v)
			if v == "" {
				out[i].Empty = "t"
			}
		case []byte:
			out[i].Bytes = v
			if len(v) == 0 {
				out[i].Empty = "b"
			}
		case int64:
			out[i].Int = &v
		case uint64:
			out[i].Uint = &v
		case float64:
			out[i].Number = &v
		default:
			return "", fmt.Errorf("%w: a key of type %T has no place that could be kept", ErrDefinition, v)
		}
	}
	text, err := json.Marshal(out)
	return string(text), err
}

func placeOf(text string) ([]any, error) {
	if text == "" {
		return nil, nil
	}
	var in []placeValue
	if err := json.Unmarshal([]byte(text), &in); err != nil {
		return nil, fmt.Errorf("adoption: the recorded place of a job is damaged; begin anew (Again): %w", err)
	}
	out := make([]any, len(in))
	for i, v := range in {
		switch {
		case v.Empty == "t":
			out[i] = ""
		case v.Empty == "b":
			out[i] = []byte{}
		case v.Text != nil:
			out[i] = string(v.Text)
		case v.Bytes != nil:
			out[i] = v.Bytes
		case v.Int != nil:
			out[i] = *v.Int
		case v.Uint != nil:
			out[i] = *v.Uint
		case v.Number != nil:
			out[i] = *v.Number
		default:
			return nil, errors.New("adoption: the recorded place of a job is damaged; begin anew (Again)")
		}
	}
	return out, nil
}
