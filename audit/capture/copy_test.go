package capture_test

import (
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/lib/pq"
	"github.com/stretchr/testify/require"
)

// copyFrom writes a row whose one value is its id, through the COPY of the
// driver.
func (b *bench) copyFrom(table string, id int) {
	b.Helper()
	if b.driver == "pgx" {
		require.NoError(b, b.conn().Raw(func(c any) error {
			_, err := c.(*stdlib.Conn).Conn().CopyFrom(b.Context(), pgx.Identifier{table}, []string{"id"}, pgx.CopyFromRows([][]any{{id}}))
			return err
		}))
		return
	}
	tx, err := b.db.BeginTx(b.Context(), nil)
	require.NoError(b, err)
	in, err := tx.PrepareContext(b.Context(), pq.CopyIn(table, "id")) //nolint:staticcheck // both drivers have their way
	require.NoError(b, err)
	_, err = in.ExecContext(b.Context(), id)
	require.NoError(b, err)
	_, err = in.ExecContext(b.Context())
	require.NoError(b, err)
	require.NoError(b, in.Close())
	require.NoError(b, tx.Commit())
}
