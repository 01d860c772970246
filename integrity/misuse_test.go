package integrity_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/integrity"
	"github.com/crmguard/crmguard/integrity/integritytest"
)

// A file with another separator says so, instead of "no heading is known" only.
func TestAHeaderInOnePieceHintsAtTheComma(t *testing.T) {
	for file, want := range map[string]byte{
		"Email;First Name\na@b.example;Ann\n":     ';',
		"Email\tFirst Name\na@b.example\tAnn\n":   '\t',
		"Email|First Name\n":                      '|',
		"\"Email\";\"First Name\"\n":              ';',
		"\xef\xbb\xbf\"Email\"\t\"First Name\"\n": '\t',
		"canary\n":            0,
		"canary;x,y;z\n":      0,
		"\"canary\"x,\"y\"\n": 0,
	} {
		var source *integrity.SourceError
		for _, err := range integrity.CSV(strings.NewReader(file), integrity.CSVOptions{Columns: integrity.KnownHeaders()}) {
			require.ErrorAs(t, err, &source, "%q", file)
		}
		require.NotNil(t, source, "%q", file)
		require.Equal(t, want, source.Comma, "%q", file)
		require.Equal(t, want != 0, strings.Contains(source.Error(), "set CSVOptions.Comma"), "%q", file)
		require.Equal(t, want != 0, strings.Contains(source.Explain("en"), "Comma"), "%q", file)
		require.Equal(t, want != 0, strings.Contains(source.Explain("zh"), "Comma"), "%q", file)
		require.NotContains(t, source.Error()+source.Explain("en"), "canary")
		if want == 0 {
			continue
		}
		for row, err := range integrity.CSV(strings.NewReader(file), integrity.CSVOptions{Columns: integrity.KnownHeaders(), Comma: source.Comma}) {
			require.NoError(t, err, "%q", file)
			require.Equal(t, "Ann", row.Values["first_name"])
		}
	}
}

func TestLayoutsOfDatesMustGiveBackTheDate(t *testing.T) {
	run := func(layout string) error {
		_, err := integrity.Import(t.Context(), rowsOf(), integrity.ImportOptions{Schema: contactSchema(t), Dates: []string{layout}, ReportOnly: true}, nil)
		return err
	}
	for _, layout := range []string{"YYYY-MM-DD", "dd.mm.yyyy", "", "2006", "2006-01", "02.01.", "1/2/06", "2006-01-01", "2006-02-01 x9"} {
		err := run(layout)
		if layout == "2006-02-01 x9" {
			require.NoError(t, err, "day and month are exchanged, and fixed text is text")
			continue
		}
		require.ErrorIs(t, err, integrity.ErrConfig, layout)
		require.ErrorContains(t, err, "loses part of a date")
	}
	for _, layout := range []string{"2006-01-02", "1/2/2006", "02.01.2006", "2 January 2006", "2006-01-02 15:04:05", "2006年1月2日", "2006-01-02T15:04:05Z07:00"} {
		require.NoError(t, run(layout), layout)
	}
}

func TestSealErrorsNameColumnsAndMembers(t *testing.T) {
	sealer, err := integrity.NewSealer(&integritytest.Tagger{}, integrity.Layout{ID: "deal/1", Columns: []integrity.Column{{Name: "stage"}, {Name: "amount", Type: integrity.Integer}}})
	require.NoError(t, err)
	_, err = sealer.Seal(t.Context(), integrity.Ref{}, nil)
	require.ErrorIs(t, err, integrity.ErrRow)
	require.ErrorContains(t, err, "the Ref lacks Tenant, Table, Key, SchemaID")
	err = sealer.Verify(t.Context(), integrity.SealedRow{Seal: []byte("x")})
	require.ErrorIs(t, err, integrity.ErrUnknownSchema, "a row that lost its schema id is a finding")
	require.ErrorContains(t, err, "the Ref lacks Tenant, Table, Key, SchemaID")
	ref := integrity.Ref{Tenant: "main", Table: "deals", Key: "d-1", SchemaID: "deal/1"}
	for want, values := range map[string]map[string]any{
		`layout "deal/1": the row lacks "amount"`:                                    {"stage": "canary"},
		`layout "deal/1": the row lacks "amount", "stage"`:                           nil,
		`layout "deal/1": the layout does not have "note", "owner"`:                  {"stage": "canary", "amount": 1, "owner": "x", "note": "y"},
		`layout "deal/1": the row lacks "amount"; the layout does not have "amuont"`: {"stage": "canary", "amuont": 1},
		`column "amount": a string that is no integer`:                               {"stage": "canary", "amount": "canary"},
	} {
		_, err := sealer.Seal(t.Context(), ref, values)
		require.ErrorIs(t, err, integrity.ErrRow)
		require.ErrorContains(t, err, want)
		require.NotContains(t, err.Error(), "canary")
	}
	ref.Table = ""
	_, err = sealer.Seal(t.Context(), ref, nil)
	require.ErrorContains(t, err, "the Ref lacks Table")
	require.False(t, errors.Is(err, integrity.ErrUnknownSchema))
}
