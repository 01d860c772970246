package gormfield_test

import (
	"bytes"
	"database/sql"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/libtnb/sqlite"
	"github.com/stretchr/testify/require"
	"gorm.io/driver/mysql"
	"gorm.io/driver/postgres"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"

	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/encryption/encryptiontest"
	"github.com/crmguard/crmguard/encryption/gormfield"
	"github.com/crmguard/crmguard/internal/testdb"
)

// Contact has a sealed field of every kind.
type Contact struct {
	ID       int64 `gorm:"primaryKey"`
	Person   string
	Name     string
	Email    string                `gorm:"serializer:crmguard"`
	EmailIdx encryption.IndexValue `gorm:"serializer:crmguard"`
	Notes    *string               `gorm:"serializer:crmguard"`
	Phone    sql.NullString        `gorm:"serializer:crmguard"`
	Address
	DeletedAt gorm.DeletedAt
	CompanyID *int64
	Company   *Company
	Calls     []Call
}

// Address is embedded.
type Address struct {
	Street []byte `gorm:"serializer:crmguard"`
}

// Company is not sealed, and has a column named as a sealed one of contacts.
type Company struct {
	ID    int64 `gorm:"primaryKey"`
	Email string
}

// Call is sealed for its row.
type Call struct {
	ID        int64 `gorm:"primaryKey"`
	ContactID int64
	Person    string
	Text      string `gorm:"serializer:crmguard"`
	Contact   *Contact
}

var definitions = []encryption.Table{
	{Name: "contacts", Columns: []encryption.Column{
		{Name: "email", Find: encryption.Email}, {Name: "notes", Pad: encryption.Padme}, {Name: "phone"}, {Name: "street"},
	}},
	{Name: "calls", Level: encryption.LevelRow, Columns: []encryption.Column{{Name: "text"}}},
}

func schemaFor(name testdb.Name) []string {
	cell, id := "BLOB", "INTEGER PRIMARY KEY"
	switch name {
	case testdb.PostgresC, testdb.PostgresICU:
		cell, id = "BYTEA", "BIGSERIAL PRIMARY KEY"
	case testdb.MariaDB:
		cell, id = "VARBINARY(600)", "BIGINT AUTO_INCREMENT PRIMARY KEY"
	default:
	}
	return []string{
		"CREATE TABLE companies (id " + id + ", email VARCHAR(100))",
		"CREATE TABLE contacts (id " + id + ", person VARCHAR(60), name VARCHAR(100), email " + cell + ", email_idx BIGINT, notes " + cell +
			", phone " + cell + ", street " + cell + ", deleted_at TIMESTAMP NULL, company_id BIGINT)",
		"CREATE TABLE calls (id " + id + ", contact_id BIGINT, person VARCHAR(60), text " + cell + ")",
	}
}

// env is a database with the plugin, and what GORM has logged.
type env struct {
	name   testdb.Name
	db     *gorm.DB
	raw    *sql.DB
	vault  *encryption.Vault
	plugin *gormfield.Plugin
	log    *sink
}

// sink keeps what GORM logs.
type sink struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (s *sink) Printf(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fmt.Fprintf(&s.buf, format+"\n", args...)
}

func (s *sink) take() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer s.buf.Reset()
	return s.buf.String()
}

func dialect(t *testing.T, d testdb.Database) (gorm.Dialector, *sql.DB) {
	t.Helper()
	raw := d.Open(t)
	switch d.Name {
	case testdb.SQLite:
		return sqlite.New(sqlite.Config{Conn: raw}), raw
	case testdb.MariaDB:
		return mysql.New(mysql.Config{Conn: raw}), raw
	default:
		return postgres.New(postgres.Config{Conn: raw}), raw
	}
}

func newEnv(t *testing.T, d testdb.Database) *env {
	t.Helper()
	return newEnvWith(t, d, gormfield.Config{})
}

// newEnvWith adds to a Config what it lacks.
func newEnvWith(t *testing.T, d testdb.Database, with gormfield.Config, tenants ...string) *env {
	t.Helper()
	e := &env{name: d.Name, log: &sink{}, vault: encryptiontest.Vault(t, append(tenants, "main")...)}
	dialector, raw := dialect(t, d)
	e.raw = raw
	for _, statement := range schemaFor(d.Name) {
		_, err := raw.ExecContext(t.Context(), statement)
		require.NoError(t, err)
	}
	config := gorm.Config{Logger: logger.New(e.log, logger.Config{LogLevel: logger.Info, SlowThreshold: time.Hour})}
	db, err := gorm.Open(dialector, &config)
	require.NoError(t, err)
	if with.Tables == nil {
		with.Tables, with.Tenant = definitions, mainTenant
	}
	e.plugin, err = gormfield.New(e.vault, with)
	require.NoError(t, err)
	require.NoError(t, db.Use(e.plugin))
	e.db = db.WithContext(t.Context())
	return e
}

// clear empties the tables and the log.
func (e *env) clear(t *testing.T) {
	t.Helper()
	for _, table := range []string{"contacts", "calls", "companies"} {
		_, err := e.raw.ExecContext(t.Context(), "DELETE FROM "+table)
		require.NoError(t, err)
	}
	e.log.take()
}

// quiet fails where the database or the log holds plaintext: all of it says
// "secret" in the tests.
func (e *env) quiet(t *testing.T) {
	t.Helper()
	require.NotContains(t, e.log.take(), "secret", "GORM has logged plaintext")
	for _, table := range []string{"contacts", "calls", "companies"} {
		for i, row := range e.cells(t, "SELECT * FROM "+table) {
			for column, cell := range row {
				require.NotContains(t, strings.ToLower(cell), "secret", "row %d of %s holds plaintext in %s", i, table, column)
			}
		}
	}
}

// cells reads rows without GORM, each cell as its bytes.
func (e *env) cells(t *testing.T, query string) []map[string]string {
	t.Helper()
	rows, err := e.raw.QueryContext(t.Context(), query)
	require.NoError(t, err)
	defer rows.Close()
	names, err := rows.Columns()
	require.NoError(t, err)
	var out []map[string]string
	for rows.Next() {
		values, targets := make([]any, len(names)), make([]any, len(names))
		for i := range values {
			targets[i] = &values[i]
		}
		require.NoError(t, rows.Scan(targets...))
		row := map[string]string{}
		for i, v := range values {
			switch v := v.(type) {
			case nil:
			case []byte:
				row[names[i]] = string(v)
			default:
				row[names[i]] = fmt.Sprint(v)
			}
		}
		out = append(out, row)
	}
	require.NoError(t, rows.Err())
	return out
}

// holds opens a cell of contacts without GORM.
func (e *env) holds(t *testing.T, id int64, column, want string) {
	t.Helper()
	rows := e.cells(t, fmt.Sprintf("SELECT * FROM contacts WHERE id = %d", id))
	require.Len(t, rows, 1)
	reader, err := e.plugin.Table("contacts").Row(t.Context(), "main", rows[0]["person"], fmt.Sprint(id))
	require.NoError(t, err)
	require.NotEmpty(t, rows[0][column])
	got, err := reader.Text(t.Context(), column, []byte(rows[0][column]))
	require.NoError(t, err)
	require.Equal(t, want, got)
	if column == "email" {
		w, err := e.plugin.Table("contacts").Writer(t.Context(), "main", rows[0]["person"])
		require.NoError(t, err)
		x, ok := w.Index("email_idx", want).Int64()
		require.True(t, ok)
		require.Equal(t, fmt.Sprint(x), rows[0]["email_idx"])
	}
}

// ann is a contact with a value in every sealed field.
func ann() *Contact {
	return &Contact{
		ID: 1, Person: "p1", Name: "Ann", Email: "secret-ann@b.example", Notes: new("secret notes"),
		Phone: sql.NullString{String: "secret 555", Valid: true}, Address: Address{Street: []byte("secret street")},
	}
}

// stored is ann, in the database.
func (e *env) stored(t *testing.T) *Contact {
	t.Helper()
	c := ann()
	require.NoError(t, e.db.Create(c).Error)
	e.log.take()
	return c
}

// whole fails where a contact is not ann.
func whole(t *testing.T, c Contact) {
	t.Helper()
	want := ann()
	require.Equal(t, want.Email, c.Email)
	require.NotNil(t, c.Notes)
	require.Equal(t, *want.Notes, *c.Notes)
	require.Equal(t, want.Phone, c.Phone)
	require.Equal(t, want.Street, c.Street)
	require.Equal(t, want.Person, c.Person)
}

// printed is a value as GORM's logger would print it.
func printed(v any) string { return logger.ExplainSQL("?", nil, "'", v) }

func silent() logger.Interface { return logger.Discard }
