package keycopy

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"
)

func FuzzScanCopy(f *testing.F) {
	f.Add([]byte(`{"epoch":1,"kek":"k","sequence":1,"store":"s","v":1,"written":"x"}` + "\n" + `{"count":0,"sha256":""}` + "\n"))
	f.Add([]byte(`{"kind":"key"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		rows := 0
		_, end, _, err := scanCopy(t.Context(), bytes.NewReader(data), func(row copyRow) error {
			rows++
			_, err := row.rows()
			return err
		})
		if err == nil {
			require.Equal(t, rows, end.Count)
		}
	})
}
