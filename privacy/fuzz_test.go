package privacy_test

import (
	"bytes"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/privacy"
)

func FuzzManifest(f *testing.F) {
	f.Add([]byte(`{"files":[{"count":1,"name":"data/contacts.ndjson","schema":"contact/3","sha256":"00"}],"made":"2026-11-22T12:00:00.000000Z","omissions":[],"tenant":"main","v":1}`))
	f.Add([]byte(`{"files":[],"v":2}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := privacy.ParseManifest(data)
		if err == nil {
			require.Equal(t, 1, m.V)
		}
	})
}

func FuzzOpenExport(f *testing.F) {
	f.Add([]byte("PK\x03\x04"))
	sample, err := os.ReadFile("testdata/export.zip")
	require.NoError(f, err)
	f.Add(sample)
	f.Fuzz(func(t *testing.T, data []byte) {
		_, err := privacy.OpenExport(bytes.NewReader(data), int64(len(data)))
		if err != nil {
			require.ErrorIs(t, err, privacy.ErrManifest)
		}
	})
}
