package rowjob

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"

	"github.com/crmguard/crmguard/encryption/internal/keyring"
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

// Digest is the digest of a cell as it is stored.
func Digest(stored any) string {
	sum := sha256.Sum256(storedBytes(stored))
	return hex.EncodeToString(sum[:])
}

// AboutOneValue tells a fault of one value, or of one owner's keys, from what
// stops a job: a store, a KEK, a context.
func AboutOneValue(err error) bool {
	for _, fault := range []error{keyring.ErrStore, keyring.ErrKEK, keyring.ErrKeyset, keyring.ErrRewound} {
		if errors.Is(err, fault) {
			return false
		}
	}
	for _, fault := range []error{keyring.ErrOpen, keyring.ErrNoKey, keyring.ErrDestroyed, keyring.ErrErased, keyring.ErrMerged, keyring.ErrID, keyring.ErrOwnerLost} {
		if errors.Is(err, fault) {
			return true
		}
	}
	return false
}

func (t *Table) unreadable(row dataRow, column int, err error) jobs.Unreadable {
	name := t.Columns[column].Name
	return jobs.Unreadable{Table: t.Name, Key: row.id, Column: name, Digest: Digest(row.cells[column].stored), Err: t.detail(err, name)}
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
		column, declared := s.at(u.Column)
		if u.Table != s.Name || u.Key == "" || !declared || s.Columns[column].Stream {
			continue
		}
		row, err := s.rowIn(ctx, q, tenant, u.Key)
		if err != nil {
			return 0, err
		}
		if row == nil || counted[cell{row.id, u.Column}] || Digest(row.cells[column].stored) != u.Digest {
			continue
		}
		if under, err := sealedvalue.KeyVersion(storedBytes(row.cells[column].stored)); err == nil && under == keyVersion {
			counted[cell{row.id, u.Column}] = true
			n++
		}
	}
	return n, nil
}
