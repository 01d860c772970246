package erasurelog_test

import (
	"bytes"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/privacy/erasurelog"
)

// Whatever stands in the file: reading it ends with a State or with an error that
// names the place, and what is read once is read again.
func FuzzLedgerFile(f *testing.F) {
	for _, name := range []string{"ledger-1", "ledger-2", "ledger-3"} {
		data, err := os.ReadFile("testdata/" + name + "/ledger.jsonl")
		require.NoError(f, err)
		f.Add(data)
		f.Add(data[:len(data)-1])
		f.Add(bytes.Replace(data, []byte(`"op"`), []byte(`"mac":"","op"`), 1))
	}
	f.Add([]byte("\x00\n"))
	f.Add([]byte("{}\n{\"mac\":\"\"}\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		x := newFixture(t)
		x.put(data)
		s, err := x.log.Read(t.Context())
		again, second := x.log.Verify(t.Context())
		if err != nil {
			var detail *erasurelog.LedgerError
			require.ErrorAs(t, err, &detail)
			require.Error(t, second)
			return
		}
		require.NoError(t, second)
		require.Equal(t, s.Head(), again.Head())
		for e := range s.After(0) {
			s.Person(e.PersonKeys()...)
		}
	})
}
