package gormcapture_test

import (
	"context"
	"database/sql"
	"strings"
	"testing"

	"github.com/libtnb/sqlite"
	"github.com/stretchr/testify/require"
	"gorm.io/driver/mysql"
	"gorm.io/driver/postgres"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"

	"github.com/crmguard/crmguard/audit"
	"github.com/crmguard/crmguard/audit/auditlog"
	"github.com/crmguard/crmguard/audit/audittest"
	"github.com/crmguard/crmguard/audit/gormcapture"
	"github.com/crmguard/crmguard/audit/sqltrail"
	"github.com/crmguard/crmguard/internal/testdb"
)

// Contact is a person.
type Contact struct {
	ID    string `gorm:"primaryKey;size:60"`
	Email string
	Stage string
	Deals []Deal
	hook  func(tx *gorm.DB) error
}

// AfterUpdate does what a test wants.
func (c *Contact) AfterUpdate(tx *gorm.DB) error {
	if c.hook == nil {
		return nil
	}
	return c.hook(tx)
}

// Deal is none, and is deleted softly.
type Deal struct {
	ID        int64 `gorm:"primaryKey"`
	ContactID *string
	Amount    int64
	Seen      int64
	DeletedAt gorm.DeletedAt
}

// Line has a key of two columns.
type Line struct {
	Deal   int64  `gorm:"primaryKey;autoIncrement:false"`
	Name   string `gorm:"primaryKey;size:60"`
	Amount int64
}

// Plain is not recorded.
type Plain struct {
	ID int64
}

// env is a database with GORM and a trail.
type env struct {
	*testing.T
	db     *gorm.DB
	raw    *sql.DB
	sink   *audittest.Sink
	trail  *audit.Trail
	config audit.Config
	plugin *gormcapture.Plugin
	seen   int
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

func models() []gormcapture.Model {
	return []gormcapture.Model{
		{Of: &Contact{}, Kind: "contact", Person: true},
		{Of: &Deal{}, Kind: "deal", Skip: []string{"seen"}},
		{Of: &Line{}, Kind: "line"},
	}
}

func newEnv(t *testing.T, d testdb.Database, with gorm.Config, models ...gormcapture.Model) *env {
	t.Helper()
	dialector, raw := dialect(t, d)
	e := &env{T: t, raw: raw, sink: &audittest.Sink{}}
	require.NoError(t, sqltrail.Install(t.Context(), raw))
	store, err := sqltrail.Open(t.Context(), raw)
	require.NoError(t, err)
	key, _, err := audit.GenerateKey("crm.example/audit", 0)
	require.NoError(t, err)
	e.config = audit.Config{
		Name: "crm.example/audit", Tenant: "main", Key: key, Sink: e.sink, Keys: audittest.NewKeys(), PersonKinds: []string{"contact"},
		Fields: map[string][]string{"contact": {"email", "stage"}, "deal": {"amount", "contact_id", "deleted_at"}, "line": {"amount"}},
		From:   func(context.Context) audit.Caller { return audit.Caller{Tenant: "main", Actor: "u-1", Request: "r-1"} },
	}
	e.trail, err = audit.Open(t.Context(), store, e.config)
	require.NoError(t, err)
	db, err := gorm.Open(dialector, &gorm.Config{PrepareStmt: with.PrepareStmt, SkipDefaultTransaction: with.SkipDefaultTransaction, Logger: logger.Discard})
	require.NoError(t, err)
	require.NoError(t, db.AutoMigrate(&Contact{}, &Deal{}, &Line{}, &Plain{}))
	e.plugin, err = gormcapture.Register(db, e.trail, models...)
	require.NoError(t, err)
	e.db = db.WithContext(t.Context())
	return e
}

// said is what was recorded since it was asked last.
func (e *env) said() []string {
	e.Helper()
	_, err := e.trail.RunOnce(e.Context())
	require.NoError(e, err)
	out, n := []string{}, 0
	for entry, err := range auditlog.Entries(e.Context(), e.sink.FS()) {
		require.NoError(e, err)
		leaf, err := auditlog.ParseLeaf(entry.Leaf)
		require.NoError(e, err)
		if leaf.Kind == auditlog.KindBeat {
			continue
		}
		if n++; n <= e.seen {
			continue
		}
		id := leaf.Object.ID
		if strings.HasPrefix(id, "s:") {
			var person string
			for _, p := range []string{"p1", "p2", "p3", "p4"} {
				if e.surrogate(p) == id {
					person = p
				}
			}
			id = "person " + person
		}
		var one strings.Builder
		one.WriteString(leaf.Action + " " + id)
		for _, c := range leaf.Changes {
			one.WriteString(" " + c.Path)
		}
		if leaf.Outcome != "ok" {
			one.WriteString(" " + leaf.Outcome)
		}
		require.Equal(e, "u-1", leaf.Actor)
		out = append(out, strings.TrimSpace(one.String()))
	}
	e.seen = n
	return out
}
