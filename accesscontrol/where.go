package accesscontrol

import "context"

// MaxArgs is the largest number of bind values of one filter. SQLite takes
// 32,766 in a statement; the rest is left to the caller.
const MaxArgs = 20_000

// Where is the condition of a filter. It is a value: it stays as it was made
// when the policy set is reloaded.
type Where struct{}

// Filter gives the condition that selects exactly the records for which
// [Policy.Check] would answer nil, of the principal's tenant only.
func (p *Policy) Filter(_ context.Context, _ Principal, _, _ string) (Where, error) {
	return Where{}, ErrRequest
}

// Postgres gives the condition with placeholders from $first on, for a table
// known as alias in the statement.
func (w Where) Postgres(alias string, first int) (sql string, args []any) { return "1 = 0", nil }

// Marks gives the condition with ? placeholders, for SQLite and MySQL.
func (w Where) Marks(alias string) (sql string, args []any) { return "1 = 0", nil }

// Nothing reports that no record can pass, so that the query can be spared.
func (w Where) Nothing() bool { return true }
