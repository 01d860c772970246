package integrity_test

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/csv"
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/integrity"
)

// Whatever a file holds, the counts add up, the rejects are a readable file,
// and an accepted row is valid.
func FuzzImport(f *testing.F) {
	for _, seed := range []string{
		"email,first_name\na@b.example,Ann\n", "\xef\xbb\xbfE-Mail,Surname,Email,password\r\n\"a@b.example\",\"x\ny\",,z\r\n",
		"email,first_name\n\"a,b\nc@b.example,d\n", "email,phone,first_name,x\n\x00,\xff,a,b\na@b.example,1,2,3,4\n", "", "foo\n", "sep=;\remail;phone\r'+1\u202a;2\r", "email,first_name\na@b.example,\u200b\n\x1b,\u202e\n\"", "email,first_name\na@b.example,A\nA@b.example,B",
	} {
		f.Add(seed)
	}
	schema := contactSchema(f)
	f.Fuzz(func(t *testing.T, file string) {
		var rejects bytes.Buffer
		var rows []integrity.Accepted
		report, err := integrity.Import(context.Background(), integrity.CSV(strings.NewReader(file), integrity.CSVOptions{Columns: integrity.KnownHeaders(), MaxField: 50, MaxRecord: 200}),
			integrity.ImportOptions{Schema: schema, Unique: []string{"email"}, Rejects: &rejects, BatchSize: 2}, collect(&rows))
		if err != nil {
			require.ErrorIs(t, err, integrity.ErrSource)
		}
		require.Equal(t, report.Read, report.Accepted+report.Rejected)
		require.LessOrEqual(t, report.Read, strings.Count(file, "\n")+strings.Count(file, "\r")+1)
		records, err := csv.NewReader(&rejects).ReadAll()
		require.NoError(t, err)
		total := 0
		for _, c := range report.Faults {
			total += c.Count
		}
		require.Len(t, records, total+1)
		require.Len(t, rows, report.Delivered)
		for _, row := range rows {
			require.Nil(t, schema.Validate(row.Values))
		}
	})
}

// A stored value has one canonical form or none, and which does not depend on
// the driver's choice between text and bytes.
func FuzzCanonical(f *testing.F) {
	for _, seed := range []string{"", "0", "-0.00", "2026-02-28", "cg1.aabbccdd.AaqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqA", `{"a":1}`, "1970-01-01T00:00:00Z", "\xff", "true"} {
		for kind := integrity.Text; kind <= integrity.Sealed; kind++ {
			f.Add(int(kind), seed)
		}
	}
	f.Fuzz(func(t *testing.T, kind int, text string) {
		if kind < 0 || kind > int(integrity.Sealed) {
			return
		}
		c := integrity.Column{Name: "x", Type: integrity.Type(kind), Scale: 0}
		fromText, err := c.Canonical(text)
		fromBytes, berr := c.Canonical([]byte(text))
		nullable, nerr := c.Canonical(sql.NullString{String: text, Valid: true})
		for _, e := range []error{err, berr, nerr} {
			require.True(t, e == nil || errors.Is(e, integrity.ErrRow))
		}
		require.Equal(t, fromText, nullable)
		if err == nil && berr == nil {
			require.Equal(t, fromText, fromBytes)
		}
		null, err := c.Canonical(sql.NullString{})
		require.NoError(t, err)
		require.Equal(t, []byte{1, 0, 0, 0, 0}, null)
		require.NotEqual(t, null, fromText)
	})
}
