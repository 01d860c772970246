package bundle_test

import (
	"archive/zip"
	"bytes"
	"io"
	"iter"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/privacy/bundle"
	"github.com/crmguard/crmguard/privacy/datamap"
	"github.com/crmguard/crmguard/privacy/datastore"
)

var noon = time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)

type fields = []datastore.Field

func record(table, key string, values fields) datastore.Record {
	return datastore.Record{Table: table, Key: key, Fields: values}
}

func seq(records ...datastore.Record) iter.Seq2[datastore.Record, error] {
	return func(yield func(datastore.Record, error) bool) {
		for _, r := range records {
			if !yield(r, nil) {
				return
			}
		}
	}
}

// config has a map of contacts, invoices and texts.
func config() bundle.Config {
	return bundle.Config{
		Tenant: "main", Made: noon, Controller: bundle.Controller{Name: "Example Ltd", Contact: "privacy@crm.example", Automated: "none"},
		Map: &datamap.Map{Tenant: "main", Tables: []datamap.Table{
			{
				Name: "contacts", Schema: "contact/3", Key: []string{"id"}, Person: "id", Created: "created", Erase: datamap.Delete, Source: "the web form", Recipients: []string{"mail provider", "print shop"},
				Columns: []datamap.Column{
					{Name: "email", Category: "contact.email", Purpose: "dpv:Marketing", Basis: "dpv:Consent"},
					{Name: "attribs", Path: "/birthday", Category: "birth.date"},
					{Name: "attribs", Path: "/size", Category: "body.size"},
				},
			},
			{
				Name: "invoices", Key: []string{"id"}, Person: "person", Erase: datamap.Redact, Keep: &datamap.Keep{Because: "DE-HGB-257", From: "issued", Years: 10},
				Columns: []datamap.Column{{Name: "person", Erase: datamap.Retain}, {Name: "bill_name", Category: "name", Erase: datamap.Retain}, {Name: "note", Category: "text", Erase: datamap.Null}},
			},
		}},
	}
}

func write(t testing.TB, c bundle.Config, records ...datastore.Record) ([]byte, *bundle.Manifest) {
	t.Helper()
	var out bytes.Buffer
	m, err := bundle.Write(t.Context(), &out, c, seq(records...))
	require.NoError(t, err)
	read, err := bundle.Verify(bytes.NewReader(out.Bytes()), int64(out.Len()))
	require.NoError(t, err)
	require.Equal(t, m, read)
	return out.Bytes(), m
}

func file(t testing.TB, data []byte, name string) string {
	t.Helper()
	z, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	require.NoError(t, err)
	f, err := z.Open(name)
	require.NoError(t, err, name)
	text, err := io.ReadAll(f)
	require.NoError(t, err)
	return string(text)
}

func names(m *bundle.Manifest) (list []string) {
	for _, f := range m.Files {
		list = append(list, f.Name)
	}
	return list
}

func lines(text string) []string { return strings.Split(strings.TrimSuffix(text, "\n"), "\n") }
