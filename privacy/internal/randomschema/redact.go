package randomschema

import (
	"context"
	"database/sql"
	"fmt"
	"strconv"
)

// An Execer is a transaction.
type Execer interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
}

// A Record is one of several persons, as a store names it.
type Record struct{ Tenant, Table, Key, Owner string }

// Redact takes everything about persons out of a record of several, as an
// application has to when one of them is erased: what was sealed under keys of the
// record is sealed anew, under those of another owner. The old one is to be
// destroyed then; "" is none.
func (c *Case) Redact(record Record) (apply func(ctx context.Context, tx Execer) error, retire string) {
	fresh := record.Owner
	if fresh != "" {
		fresh = c.Keys.newRecord()
	}
	return func(ctx context.Context, tx Execer) error {
		for _, t := range c.tables {
			if t.name != record.Table {
				continue
			}
			for _, col := range t.columns {
				if !col.personal() && (col.name != "owner" || fresh == "") {
					continue
				}
				if err := c.blank(ctx, tx, t, col, record, fresh); err != nil {
					return err
				}
			}
		}
		return nil
	}, record.Owner
}

// blank is what an application writes in place of a value about persons.
func (c *Case) blank(ctx context.Context, tx Execer, t *table, col column, record Record, owned string) error {
	value := any(nil)
	switch {
	case col.name == "owner":
		value = owned
	case col.kind == sealed:
		by := application
		if owned != "" {
			by = owner(record.Tenant, owned)
		}
		value = c.Keys.seal(by, "[redacted]")
	case col.notNull:
		value = map[kind]any{name: "gone-" + record.Key + "@erased.invalid", long: "[redacted]", day: "1900-01-01", stamp: "1900-01-01 00:00:00", money: "0", object: "{}", binary: []byte{}}[col.kind]
	}
	marks := [2]string{"?", "?"}
	if c.postgres() {
		marks = [2]string{"$1", "$2"}
	}
	var id any = record.Key
	if t.key[0].kind == serial {
		n, err := strconv.ParseInt(record.Key, 10, 64)
		if err != nil {
			return fmt.Errorf("randomschema: key of a record: %w", err)
		}
		id = n
	}
	if _, err := tx.ExecContext(ctx, fmt.Sprintf("UPDATE %s SET %s = %s WHERE id = %s", t.name, col.name, marks[0], marks[1]), value, id); err != nil {
		return fmt.Errorf("randomschema: redact: %w", err)
	}
	return nil
}

// newRecord is an owner for a record that nobody had yet.
func (k *Keys) newRecord() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.records++
	return "r:" + uuidOf("record", k.records)
}

// Live are those of the owners of records of the persons whose keys are there yet.
func (c *Case) Live(persons ...int) (owners []string) {
	for _, t := range c.tables {
		for _, r := range c.rows[t.n] {
			if r.keys == "" || !r.of(persons) {
				continue
			}
			if _, err := c.Keys.aead(owner(fmt.Sprint(r.tenant), r.keys)); err == nil {
				owners = append(owners, r.keys)
			}
		}
	}
	return owners
}
