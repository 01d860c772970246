package keyring

import "errors"

// Where adds table and column to an error, without changing its sentinel.
func Where(err error, table, column string) error {
	var e *KeyError
	if !errors.As(err, &e) {
		return err
	}
	with := *e
	with.Table, with.Column = table, column
	return &with
}
