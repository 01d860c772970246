package capture_test

import (
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/stdlib"
	"github.com/stretchr/testify/require"
)

// copyFrom writes a row whose one value is its id, through the COPY of the
// driver.
func (b *bench) copyFrom(table string, id int) {
	b.Helper()
	statement := `COPY ` + table + ` (id) FROM STDIN`
	if b.driver == "pgx" {
		require.NoError(b, b.conn().Raw(func(c any) error {
			_, err := c.(*stdlib.Conn).Conn().PgConn().CopyFrom(b.Context(), strings.NewReader(strconv.Itoa(id)+"\n"), statement)
			return err
		}))
		return
	}
	tx, err := b.db.BeginTx(b.Context(), nil)
	require.NoError(b, err)
	in, err := tx.PrepareContext(b.Context(), statement)
	require.NoError(b, err)
	_, err = in.ExecContext(b.Context(), id)
	require.NoError(b, err)
	_, err = in.ExecContext(b.Context())
	require.NoError(b, err)
	require.NoError(b, in.Close())
	require.NoError(b, tx.Commit())
}
