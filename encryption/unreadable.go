package encryption

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"

	"github.com/crmguard/crmguard/encryption/jobs"
	"github.com/crmguard/crmguard/encryption/sealedvalue"

	"github.com/crmguard/crmguard/internal/sqldb"
)

// storedBytes are those of a cell as it is stored, in either form.
func storedBytes(stored any) []byte {
	switch s := stored.(type) {
	case []byte:
		return s
	case string:
		return []byte(s)
	}
	return nil
}

// digestOf is the digest of a cell as it is stored.
func digestOf(stored any) string {
	sum := sha256.Sum256(storedBytes(stored))
	return hex.EncodeToString(sum[:])
}

// aboutOneValue tells a fault of one value, or of one owner's keys, from what
// stops a job: a store, a KEK, a context.
func aboutOneValue(err error) bool {
	for _, fault := range []error{ErrStore, ErrKEK, ErrKeyset, ErrRewound} {
		if errors.Is(err, fault) {
			return false
		}
	}
	for _, fault := range []error{ErrOpen, ErrNoKey, ErrDestroyed, ErrErased, ErrMerged, ErrID} {
		if errors.Is(err, fault) {
			return true
		}
	}
	return false
}

func (t *SealedTable) unreadable(row dataRow, column int, err error) jobs.Unreadable {
	name := t.def.Columns[column].Name
	return jobs.Unreadable{Table: t.def.Name, Key: row.id, Column: name, Digest: digestOf(row.cells[column].stored), Err: t.detail(err, name)}
}

// givenUp counts the cells of a list that still hold, under that key version, what
// they held when they were listed.
func (s *storedTable) givenUp(ctx context.Context, q sqldb.Querier, tenant string, keyVersion uint32, lost []jobs.Unreadable) (n int64, err error) {
	if n, err = s.givenUpNameless(ctx, q, tenant, keyVersion, lost); err != nil {
		return 0, err
	}
	type cell struct{ key, column string }
	counted := map[cell]bool{}
	for _, u := range lost {
		column, declared := s.SealedTable.columns[u.Column]
		if u.Table != s.def.Name || u.Key == "" || !declared || s.def.Columns[column].Stream {
			continue
		}
		row, err := s.rowIn(ctx, q, tenant, u.Key)
		if err != nil {
			return 0, err
		}
		if row == nil || counted[cell{row.id, u.Column}] || digestOf(row.cells[column].stored) != u.Digest {
			continue
		}
		if under, err := sealedvalue.KeyVersion(storedBytes(row.cells[column].stored)); err == nil && under == keyVersion {
			counted[cell{row.id, u.Column}] = true
			n++
		}
	}
	return n, nil
}
