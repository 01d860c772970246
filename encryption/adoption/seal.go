package adoption

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/crmguard/crmguard/encryption"
)

// keys are the keys of a page: who may seal, and what opens.
type keys struct {
	sealers map[string]*encryption.Writer
	refused map[string]error
	reader  *encryption.Reader
}

// keysOf fetches the keys of a page with one query, and makes those that are
// missing.
func (p *pass) keysOf(ctx context.Context, rows []row) (*keys, error) {
	k := &keys{sealers: map[string]*encryption.Writer{}, refused: map[string]error{}}
	var owners []string
	seen := map[string]bool{}
	need := func(owner string) {
		if owner != "" && !seen[owner] {
			seen[owner] = true
			owners = append(owners, owner)
		}
	}
	for _, r := range rows {
		for i, c := range p.cells {
			if r.cells[i].plain != nil || r.cells[i].sealed != nil {
				need(p.ownerOf(c, r))
			}
		}
	}
	reader, err := p.cfg.Table.PageReader(ctx, p.tenant, owners...)
	if err != nil {
		return nil, err
	}
	k.reader = reader
	if p.options.DryRun {
		return k, nil // no key is made
	}
	sealers, err := p.cfg.Table.Writers(ctx, p.tenant, owners...)
	var refused *encryption.PersonsError
	if err != nil && !errors.As(err, &refused) {
		return nil, err
	}
	for i, owner := range owners {
		if refused != nil && refused.Persons[i] != nil {
			k.refused[owner] = refused.Persons[i]
			continue
		}
		k.sealers[owner] = sealers[i]
	}
	return k, nil
}

// ownerOf is whose key seals a column of a row; "" is nobody's.
func (l *live) ownerOf(c liveColumn, r row) string {
	if c.sealed.Level == encryption.LevelTenant || l.def.Shared {
		return tenantOwner
	}
	return r.owner
}

// sealer is what seals a column of a row, or why nothing does.
func (p *pass) sealer(k *keys, c liveColumn, r row) (*encryption.Writer, error) {
	owner := p.ownerOf(c, r)
	if owner == "" {
		return nil, fmt.Errorf("%w: the owner column names nobody", encryption.ErrID)
	}
	if err := k.refused[owner]; err != nil {
		return nil, err
	}
	w := k.sealers[owner]
	if w == nil || c.sealed.Level != encryption.LevelRow {
		return w, nil
	}
	if r.idErr != nil {
		return nil, r.idErr
	}
	return w.Row(r.id)
}

// opened is the value of a sealed cell.
func (p *pass) opened(ctx context.Context, k *keys, c liveColumn, r row, sealed any) (string, error) {
	var raw []byte
	switch s := sealed.(type) {
	case []byte:
		raw = s
	case string:
		raw = []byte(s)
	default:
		return "", fmt.Errorf("%w: the sealed column holds neither bytes nor text", encryption.ErrOpen)
	}
	id := r.id
	if r.idErr != nil {
		id = ""
	}
	value, err := k.reader.Row(p.ownerOf(c, r), id).Open(ctx, c.Name, raw)
	return string(value), err
}

// aboutOneValue says that an error is about one row, and not that keys or database
// are away.
func aboutOneValue(err error) bool {
	for _, one := range []error{
		encryption.ErrOpen, encryption.ErrNoKey, encryption.ErrDestroyed, encryption.ErrErased,
		encryption.ErrMerged, encryption.ErrID, encryption.ErrTooLarge, encryption.ErrDefinition,
	} {
		if errors.Is(err, one) {
			return true
		}
	}
	return false
}

// clearText is a value in the clear. SQLite has values of other classes in a column
// of text, which would come back as text.
func clearText(stored any) (string, error) {
	switch s := stored.(type) {
	case string:
		return s, nil
	case []byte:
		return "", fmt.Errorf("%w: the column in the clear holds bytes, which would come back as text", ErrDefinition)
	}
	return "", fmt.Errorf("%w: the column in the clear holds a value that is no text (%T)", ErrDefinition, stored)
}

// written is a sealed value with its index values, as changes of a row. The sealed
// one is always another than before, by its random IV, so that no trigger takes the
// change for one of somebody who knows nothing of it.
func (c liveColumn) written(w *encryption.Writer, old cell, value string) (out []change, sealed []byte, err error) {
	s := w.Text(c.Name, value)
	if s.Err() != nil {
		return nil, nil, s.Err()
	}
	stored, err := s.Value()
	if err != nil {
		return nil, nil, err
	}
	out = append(out, change{column: c.stored, old: old.sealed, new: stored})
	for i, x := range c.indexes {
		v := w.Index(x.Column, value)
		stored, err := v.Value()
		if err != nil {
			return nil, nil, err
		}
		out = append(out, change{column: c.values[i], old: old.values[i], new: stored})
	}
	return out, s.Bytes(), nil
}

// indexed says whether the index columns hold what they should.
func (c liveColumn) indexedAs(w *encryption.Writer, old cell, value string) (bool, error) {
	for i, x := range c.indexes {
		v := w.Index(x.Column, value)
		if v.Err() != nil {
			return false, v.Err()
		}
		if !sameIndex(old.values[i], v) {
			return false, nil
		}
	}
	return true, nil
}

// sameIndex compares with what a column holds: a database may give an integer as
// its digits.
func sameIndex(stored any, want encryption.IndexValue) bool {
	switch s := stored.(type) {
	case nil:
		return want.IsNull()
	case int64:
		n, ok := want.Int64()
		return ok && n == s
	case string:
		n, ok := want.Int64()
		return ok && s == strconv.FormatInt(n, 10)
	case []byte:
		return want.Bytes() != nil && bytes.Equal(s, want.Bytes())
	}
	return false
}

// emptied takes a sealed value and its index values away.
func (c liveColumn) emptied(old cell) (out []change) {
	out = append(out, change{column: c.stored, old: old.sealed})
	for i := range c.indexes {
		out = append(out, change{column: c.values[i], old: old.values[i]})
	}
	return out
}
