package adoption

import (
	"context"
	"time"
)

// PageQuery is the query of a page of the jobs, from behind a row or from the
// first one.
func (a *Adoption) PageQuery(ctx context.Context, tenant string, after []any) (string, []any, error) {
	l, err := a.live(ctx, tenant)
	if err != nil {
		return "", nil, err
	}
	query, args := l.pageQuery(tenant, after, "", nil, 200)
	return query, args, nil
}

// Current reads the stage of a tenant afresh.
func (a *Adoption) Current(ctx context.Context, tenant string) error {
	_, err := a.current(ctx, tenant)
	return err
}

// Digest is what is recorded of the definition.
func (a *Adoption) Digest() string { return a.digest }

// PlaceText and PlaceOf keep a cursor as text.
func PlaceText(cursor []any) (string, error) { return placeText(cursor) }
func PlaceOf(text string) ([]any, error)     { return placeOf(text) }

// StageText is what the tag of a settled stage is made over, clean at its revision
// and changed 7 microseconds after 1970.
func StageText(tenant, table string, stage Stage, digest string, revision int64, lease time.Duration) []byte {
	return stageRow{tenant: tenant, stage: stage, settled: true, revision: revision, digest: digest, lease: lease, clean: revision, changed: time.UnixMicro(7)}.text(table)
}

// Unsealed counts the rows that stand in the clear only, and asks nothing before.
func (a *Adoption) Unsealed(ctx context.Context, tenant string) (int64, error) {
	l, err := a.bare(ctx)
	if err != nil {
		return 0, err
	}
	return l.sided(ctx, tenant, true)
}
