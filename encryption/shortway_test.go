package encryption_test

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/encryption"
)

// shortTable has each kind of column beside plain ones.
var shortTable = encryption.Table{Name: "short", Columns: []encryption.Column{
	{Name: "a"}, {Name: "b"}, {Name: "row", Level: encryption.LevelRow}, {Name: "last", Level: encryption.LevelRow}, {Name: "padded", Pad: 64},
}}

func shortRow() []encryption.Field {
	fields := make([]encryption.Field, len(shortTable.Columns))
	for i, col := range shortTable.Columns {
		fields[i] = encryption.Field{Column: col.Name, Value: []byte("value of " + col.Name)}
	}
	return fields
}

// sealedShort seals a row twice with one Writer and returns what the second time
// made, when all that can be kept is kept.
func sealedShort(t *testing.T, table *encryption.SealedTable, person, row string) []encryption.Field {
	t.Helper()
	w, err := table.Writer(t.Context(), tenant, person)
	require.NoError(t, err)
	w, err = w.Row(row)
	require.NoError(t, err)
	fields := shortRow()
	for range 2 {
		_, err = w.AppendSealRow(nil, fields)
		require.NoError(t, err)
	}
	return fields
}

// What a Reader remembers of a row opens nothing that belongs to another one, to
// another person or to another column, and nothing that was changed.
func TestWhatIsRememberedOpensNothingElse(t *testing.T) {
	e := newEnv(t, 1)
	ctx := t.Context()
	table := e.table(t, e.vault, shortTable)
	first, second, other := sealedShort(t, table, "p1", "r1"), sealedShort(t, table, "p1", "r2"), sealedShort(t, table, "p2", "r3")
	reader, err := table.Reader(ctx, tenant, "p1", "p2")
	require.NoError(t, err)
	warm := func(person, row string, fields []encryption.Field) encryption.RowReader {
		r := reader.Row(person, row)
		for range 2 {
			got := shortRow()
			for i := range got {
				got[i].Value, got[i].Sealed = nil, fields[i].Sealed
			}
			_, err := r.AppendOpenRow(ctx, nil, got)
			require.NoError(t, err)
			for i, want := range shortRow() {
				require.Equal(t, string(want.Value), string(got[i].Value))
			}
		}
		return r
	}
	for i, f := range first {
		warm("p1", "r1", first)
		r := reader.Row("p1", "r2")
		_, err := r.AppendOpen(ctx, nil, "a", second[0].Sealed) // the key of the new row is known now
		require.NoError(t, err)
		if shortTable.Columns[i].Level == encryption.LevelRow {
			_, err = r.AppendOpen(ctx, nil, f.Column, f.Sealed)
			require.ErrorIs(t, err, encryption.ErrOpen, "of another row")
			_, err = r.AppendOpenRow(ctx, nil, []encryption.Field{{Column: "a", Sealed: second[0].Sealed}, {Column: f.Column, Sealed: f.Sealed}})
			require.ErrorIs(t, err, encryption.ErrOpen, "of another row")
		}
		r = warm("p1", "r1", first)
		_, err = r.AppendOpen(ctx, nil, f.Column, other[i].Sealed)
		require.Error(t, err, "of another person")
		for j, g := range first {
			got, err := r.AppendOpen(ctx, []byte("> "), g.Column, f.Sealed)
			if i == j {
				require.NoError(t, err)
				require.Equal(t, "> value of "+f.Column, string(got))
				continue
			}
			require.ErrorIs(t, err, encryption.ErrOpen, "of another column")
		}
		for at := range f.Sealed {
			changed := bytes.Clone(f.Sealed)
			changed[at] ^= 1
			_, err := r.AppendOpen(ctx, nil, f.Column, changed)
			require.Error(t, err, "byte %d", at)
			_, err = r.AppendOpen(ctx, nil, f.Column, f.Sealed[:at])
			require.Error(t, err, "cut at %d", at)
		}
		_, err = r.AppendOpen(ctx, nil, "nothing", f.Sealed)
		require.ErrorIs(t, err, encryption.ErrDefinition)
	}
}

// A RowReader goes on reading its row, however many others its Reader has named.
func TestARowReaderStaysWithItsRow(t *testing.T) {
	e := newEnv(t, 1)
	ctx := t.Context()
	table := e.table(t, e.vault, shortTable)
	reader, err := table.Reader(ctx, tenant, "p1", "p2")
	require.NoError(t, err)
	var rows []encryption.RowReader
	var sealed [][]encryption.Field
	for i := range 80 {
		person, row := []string{"p1", "p2"}[i%2], fmt.Sprint("r", i)
		sealed = append(sealed, sealedShort(t, table, person, row))
		rows = append(rows, reader.Row(person, row))
	}
	for _, step := range []int{1, 37, 79} {
		for i := range rows {
			at := i * step % len(rows)
			for j, f := range sealed[at] {
				got, err := rows[at].Open(ctx, f.Column, f.Sealed)
				require.NoError(t, err, "%d %d", at, j)
				require.Equal(t, string(f.Value), string(got))
			}
			_, err := rows[at].Open(ctx, "row", sealed[(at+2)%len(rows)][2].Sealed)
			require.ErrorIs(t, err, encryption.ErrOpen, "the value of another row of the same person")
		}
	}
}

// A Writer that has sealed a row before seals another one as if it were the first:
// in any order, with NULL, padded, too large or in no column there is.
func TestAWriterThatHasSealedARowSealsTheNextOneAsWell(t *testing.T) {
	e := newEnv(t, 1)
	ctx := t.Context()
	table := e.table(t, e.vault, shortTable)
	w, err := table.Writer(ctx, tenant, "p1")
	require.NoError(t, err)
	w, err = w.Row("r1")
	require.NoError(t, err)
	_, err = w.AppendSealRow(nil, shortRow()[:2])
	require.NoError(t, err)
	reader, err := table.Row(ctx, tenant, "p1", "r1")
	require.NoError(t, err)
	whole := shortRow()
	for _, order := range [][]int{{0, 1}, {0, 1, 2, 3}, {0, 1, 2, 3, 4}, {0}, {}, {1, 0}, {4, 3, 2, 1, 0}, {0, 2}, {0, 0}, {2}, {4, 4}, {0, 1, 2, 3, 4, 0}} {
		for null := range 3 {
			var fields []encryption.Field
			for i, at := range order {
				f := encryption.Field{Column: whole[at].Column, Value: whole[at].Value, Sealed: []byte("before")}
				switch {
				case null == 1 && i%2 == 0:
					f.Value = nil
				case null == 2:
					f.Value = []byte{}
				}
				fields = append(fields, f)
			}
			all, err := w.AppendSealRow([]byte("> "), fields)
			require.NoError(t, err)
			joined := []byte("> ")
			for _, f := range fields {
				joined = append(joined, f.Sealed...)
				if f.Value == nil {
					require.Nil(t, f.Sealed)
					continue
				}
				if f.Column == "padded" {
					require.Len(t, f.Sealed, 64+33)
				}
				got, err := reader.Open(ctx, f.Column, f.Sealed)
				require.NoError(t, err)
				require.Equal(t, string(f.Value), string(got))
				one, err := w.Seal(f.Column, f.Value)
				require.NoError(t, err)
				require.Len(t, one, len(f.Sealed))
				got, err = reader.Open(ctx, f.Column, one)
				require.NoError(t, err)
				require.Equal(t, string(f.Value), string(got))
			}
			require.Equal(t, joined, all)
		}
	}
	large := make([]byte, 16<<20+1)
	_, err = w.AppendSeal(nil, "a", large)
	require.ErrorIs(t, err, encryption.ErrTooLarge)
	for _, f := range []encryption.Field{{Column: "b", Value: large}, {Column: "nothing", Value: []byte("x")}, {Column: "nothing"}} {
		fields := append(shortRow()[:1], f)
		_, err = w.AppendSealRow(nil, fields)
		require.Error(t, err)
		require.Nil(t, fields[0].Sealed, "no Sealed is changed")
	}
	none, err := w.Seal("a", nil)
	require.NoError(t, err, "nil is sealed, not NULL")
	got, err := reader.Open(ctx, "a", none)
	require.NoError(t, err)
	require.Empty(t, got)
}
