package adoption

import "context"

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

// Digest is what is recorded of the definition.
func (a *Adoption) Digest() string { return a.digest }

// PlaceText and PlaceOf keep a cursor as text.
func PlaceText(cursor []any) (string, error) { return placeText(cursor) }
func PlaceOf(text string) ([]any, error)     { return placeOf(text) }
