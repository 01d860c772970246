package privacy

import (
	"context"
	"database/sql"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/crmguard/crmguard/internal/sqldb"
	"github.com/crmguard/crmguard/privacy/datastore"
)

// What an erased person was known by stands on the suppression list, as keyed
// digests: whoever has the list and no ledger root cannot try addresses out.

// known digests identities for the list, sorted.
func (d *Desk) known(ctx context.Context, tenant string, identities map[string][]string) ([]string, error) {
	var list []string
	for kind, values := range identities {
		for _, value := range values {
			keys, err := d.suppressionKeys(ctx, tenant, kind, value)
			if err != nil {
				return nil, err
			}
			list = append(list, keys[0])
		}
	}
	return slices.Compact(slices.Sorted(slices.Values(list))), nil
}

// suppressionKeys are "root/digest" of one value under every root, the newest
// first. Case and white space around the value do not count.
func (d *Desk) suppressionKeys(ctx context.Context, tenant, kind, value string) ([]string, error) {
	return d.cfg.Ledger.Keys(ctx, "suppressed/"+kind, tenant, []byte(strings.ToLower(strings.TrimSpace(value))))
}

func (d *Desk) suppress(ctx context.Context, tx datastore.Tx, tenant string, known []string) error {
	if len(known) == 0 {
		return nil
	}
	rows := make([][]any, len(known))
	for i, key := range known {
		rows[i] = []any{tenant, key, d.now().UnixMicro()}
	}
	in := sqldb.Insert{Table: suppressedTable, Columns: []string{"tenant", "digest", "since"}, Key: suppressedKey}
	return mute("suppressing what was erased", d.db.Insert(ctx, tx, in, rows))
}

const suppressedTable = "crmguard_privacy_suppressed"

var suppressedKey = []string{"tenant", "digest"} //nolint:gochecknoglobals // a constant

// Suppressed says whether somebody who was known by the value, such as an e-mail
// address (kind is that of the data map's Column.Identity), was erased, and since
// when: an import asks before it brings such a person back. Case and white space
// around the value do not count; other spellings do.
func (d *Desk) Suppressed(ctx context.Context, tenant, kind, value string) (since time.Time, ok bool, err error) {
	if err := validID("tenant", tenant); err != nil {
		return time.Time{}, false, err
	}
	keys, err := d.suppressionKeys(ctx, tenant, kind, value)
	if err != nil {
		return time.Time{}, false, err
	}
	for _, key := range keys {
		var at int64
		err := sqldb.One(ctx, d.db, []any{&at}, d.db.Bind(`SELECT since FROM crmguard_privacy_suppressed WHERE tenant = ? AND digest = ?`), tenant, key)
		switch {
		case errors.Is(err, sql.ErrNoRows):
		case err != nil:
			return time.Time{}, false, mute("reading the suppression list", err)
		case !ok || time.UnixMicro(at).Before(since):
			since, ok = time.UnixMicro(at).UTC(), true
		}
	}
	return since, ok, nil
}

// Unsuppress takes a value from the list: its owner has signed up anew.
func (d *Desk) Unsuppress(ctx context.Context, tenant, kind, value string) error {
	if err := validID("tenant", tenant); err != nil {
		return err
	}
	keys, err := d.suppressionKeys(ctx, tenant, kind, value)
	if err != nil {
		return err
	}
	rows := make([][]any, len(keys))
	for i, key := range keys {
		rows[i] = []any{tenant, key}
	}
	return d.recorded(ctx, []string{tenant}, func(tx *sql.Tx) error {
		if err := d.db.Delete(ctx, tx, suppressedTable, suppressedKey, rows); err != nil {
			return mute("taking from the suppression list", err)
		}
		return d.record(ctx, tx, tenant, "privacy.unsuppress")
	})
}

// identities asks the database by what it knows the persons, in every spelling
// that stands there.
func (d *Desk) identities(ctx context.Context, scope datastore.Scope, persons []string) (map[string][]string, error) {
	knows, ok := d.database.(interface {
		Identities(ctx context.Context, scope datastore.Scope) (map[string][]string, error)
	})
	if !ok {
		return nil, nil
	}
	all := map[string][]string{}
	for _, person := range persons {
		scope := scope
		scope.Person = person
		found, err := ask(ctx, d, d.database.Name(), "find", about(scope.Tenant, person), func(ctx context.Context) (map[string][]string, error) {
			return knows.Identities(ctx, scope)
		})
		if err != nil {
			return nil, err
		}
		for kind, values := range found {
			all[kind] = append(all[kind], values...)
		}
	}
	for kind := range maps.Keys(all) {
		all[kind] = slices.Compact(slices.Sorted(slices.Values(all[kind])))
	}
	return all, nil
}
