package gormfield_test

import (
	"context"
	"database/sql"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/encryption/encryptiontest"
	"github.com/crmguard/crmguard/encryption/gormfield"
	"github.com/crmguard/crmguard/encryption/keystore"
	"github.com/crmguard/crmguard/encryption/sqlkeys"
	"github.com/crmguard/crmguard/internal/testdb"
)

// poolOfOne is one connection that the rows and the key store share.
type poolOfOne struct {
	t         *testing.T
	config    encryption.Config
	dialector gorm.Dialector
	raw       *sql.DB
}

func newPoolOfOne(t *testing.T, name testdb.Name) *poolOfOne {
	t.Helper()
	p := &poolOfOne{t: t}
	p.dialector, p.raw = dialect(t, testdb.New(t, name))
	p.raw.SetMaxOpenConns(1)
	require.NoError(t, sqlkeys.Install(t.Context(), p.raw))
	keys, err := sqlkeys.Open(t.Context(), p.raw)
	require.NoError(t, err)
	p.config = encryption.Config{Keys: keys, KEK: kek}
	vault, err := encryption.Create(t.Context(), p.config)
	require.NoError(t, err)
	require.NoError(t, vault.AddTenant(t.Context(), "main"))
	cell := "BLOB"
	if name == testdb.PostgresC {
		cell = "BYTEA"
	}
	for _, statement := range append(schemaFor(name), "CREATE TABLE tickets (id BIGINT PRIMARY KEY, tenant VARCHAR(60), person VARCHAR(60), text "+cell+")") {
		_, err := p.raw.ExecContext(t.Context(), statement)
		require.NoError(t, err)
	}
	return p
}

// process is a *gorm.DB of a process that has no key in memory. Who waits for
// itself waits longer than the test may.
func (p *poolOfOne) process() (*gorm.DB, *gormfield.Plugin) {
	p.t.Helper()
	vault, err := encryption.Open(p.t.Context(), p.config)
	require.NoError(p.t, err)
	return p.use(vault)
}

func (p *poolOfOne) use(vault *encryption.Vault) (*gorm.DB, *gormfield.Plugin) {
	p.t.Helper()
	db, err := gorm.Open(p.dialector, &gorm.Config{Logger: silent()})
	require.NoError(p.t, err)
	tables := append([]encryption.Table{{Name: "tickets", Tenant: "tenant", Columns: []encryption.Column{{Name: "text"}}}}, definitions...)
	plugin, err := gormfield.New(vault, gormfield.Config{Tables: tables, Tenant: mainTenant, KeyWait: 30 * time.Second})
	require.NoError(p.t, err)
	require.NoError(p.t, db.Use(plugin))
	return db.WithContext(p.t.Context()), plugin
}

// Ticket is a row of one of several tenants.
type Ticket struct {
	ID             int64 `gorm:"primaryKey"`
	Tenant, Person string
	Text           string `gorm:"serializer:crmguard"`
}

// persons are contacts, each of a person of its own.
func persons(n int, prefix string) []Contact {
	out := make([]Contact, n)
	for i := range out {
		out[i] = Contact{Person: fmt.Sprintf("%s%04d", prefix, i), Email: "secret-" + prefix + fmt.Sprint(i) + "@b.example"}
	}
	return out
}

// Nothing waits for the one connection that it holds itself: it takes the keys
// before, or fails at once and says what to do.
func TestNothingWaitsForItsOwnConnection(t *testing.T) {
	for _, name := range []testdb.Name{testdb.SQLite, testdb.PostgresC} {
		t.Run(string(name), func(t *testing.T) {
			p := newPoolOfOne(t, name)
			db, plugin := p.process()
			many := persons(600, "p")
			require.NoError(t, plugin.Ensure(db, &many))
			require.NoError(t, db.CreateInBatches(&many, 200).Error)

			t.Run("Rows", func(t *testing.T) {
				db, _ := p.process()
				rows, err := db.Model(&Contact{}).Order("id").Rows()
				require.NoError(t, err)
				defer rows.Close()
				n := 0
				for ; rows.Next(); n++ {
					var c Contact
					require.NoError(t, db.ScanRows(rows, &c))
					require.Equal(t, many[n].Email, c.Email)
				}
				require.NoError(t, rows.Err())
				require.Equal(t, len(many), n)
			})
			t.Run("more rows than are read ahead", func(t *testing.T) {
				db, plugin := p.process()
				plugin.ReadAhead(300)
				rows, err := db.Model(&Contact{}).Order("id").Rows()
				require.NoError(t, err)
				defer rows.Close()
				require.False(t, rows.Next())
				require.ErrorIs(t, rows.Err(), gormfield.ErrPool)
				require.NoError(t, rows.Close())
				require.NoError(t, db.Find(&[]Contact{}).Error) // takes the keys
				rows, err = db.Model(&Contact{}).Order("id").Rows()
				require.NoError(t, err)
				defer rows.Close()
				n := 0
				for ; rows.Next(); n++ {
				}
				require.NoError(t, rows.Err())
				require.Equal(t, len(many), n)
			})
			t.Run("Row", func(t *testing.T) {
				db, _ := p.process()
				var person, email string
				require.NoError(t, db.Model(&Contact{}).Select("person", "email").Order("id").Row().Scan(&person, &email))
				require.Equal(t, many[0].Email, email)
			})
			t.Run("Find", func(t *testing.T) {
				db, _ := p.process()
				var found []Contact
				require.NoError(t, db.Find(&found).Error)
				require.Len(t, found, len(many))
			})
			t.Run("maps", func(t *testing.T) {
				db, _ := p.process()
				require.NoError(t, db.Model(&Contact{}).Create(map[string]any{"Person": "m1", "Email": newMail}).Error)
				require.NoError(t, db.Table("contacts").Create([]map[string]any{{"person": "m2", "email": newMail}, {"person": "m3", "email": newMail}}).Error)
				require.NoError(t, db.Model(&Contact{}).Create(&[]map[string]any{{"Person": "m4"}, {"Person": "m5", "Email": newMail}}).Error)
				require.NoError(t, db.Model(&Contact{}).Create(&map[string]any{"Person": "m6", "Email": newMail}).Error)
				var found []Contact
				require.NoError(t, db.Where("person LIKE 'm%'").Order("person").Find(&found).Error)
				require.Len(t, found, 6)
				require.Equal(t, newMail, found[5].Email)
			})
			t.Run("an update that names the owner", func(t *testing.T) {
				db, _ := p.process()
				all := func(person string) map[string]any {
					return map[string]any{"person": person, "email": newMail, "notes": "secret", "phone": "secret", "street": "secret"}
				}
				first := many[0].ID
				require.NoError(t, db.Model(&Contact{}).Where("id = ?", first).Updates(all("new1")).Error)
				require.NoError(t, db.Table("contacts").Where("id = ?", first).Updates(all("new2")).Error)
				set := clause.Assignments(all("new3"))
				require.NoError(t, db.Model(&Contact{}).Where("id = ?", first).Clauses(set).Updates(map[string]any{}).Error)
				require.NoError(t, db.Model(&Contact{ID: first}).Updates(ContactCopy{Person: "new4", Email: newMail, Notes: "secret", Phone: "secret", Street: "secret"}).Error)
				var c Contact
				require.NoError(t, db.First(&c, first).Error)
				require.Equal(t, "new4", c.Person)
				require.Equal(t, newMail, c.Email)
			})
			t.Run("an update that names the owner, of a model that names the tenant", func(t *testing.T) {
				db, _ := p.process()
				require.NoError(t, db.Create(&Ticket{ID: 1, Tenant: "main", Person: "t1", Text: "secret"}).Error)
				tx := db.Model(&Ticket{ID: 1, Tenant: "main"}).Updates(map[string]any{"person": "t2", "text": "secret new"})
				require.NoError(t, tx.Error)
				var back Ticket
				require.NoError(t, db.First(&back).Error)
				require.Equal(t, Ticket{1, "main", "t2", "secret new"}, back)
			})
			t.Run("CreateInBatches", func(t *testing.T) {
				db, plugin := p.process()
				rows := persons(9, "batch")
				require.ErrorIs(t, db.CreateInBatches(&rows, 3).Error, gormfield.ErrPool)
				var n int64
				require.NoError(t, db.Model(&Contact{}).Where("person LIKE 'batch%'").Count(&n).Error)
				require.Zero(t, n)
				require.NoError(t, plugin.Ensure(db, rows))
				rows = persons(9, "batch") // without the ids of the attempt
				require.NoError(t, db.CreateInBatches(&rows, 3).Error)
			})
			t.Run("in a transaction", func(t *testing.T) {
				db, plugin := p.process()
				find := func(tx *gorm.DB) error { return tx.Find(&[]Contact{}).Error }
				require.ErrorIs(t, db.Transaction(find), gormfield.ErrPool)
				require.ErrorIs(t, db.Connection(find), gormfield.ErrPool)
				scan := func(tx *gorm.DB) error {
					rows, err := tx.Model(&Contact{}).Rows()
					if err != nil {
						return err
					}
					defer rows.Close()
					for rows.Next() {
					}
					return rows.Err()
				}
				require.ErrorIs(t, db.Session(&gorm.Session{PrepareStmt: true}).Transaction(scan), gormfield.ErrPool)
				require.NoError(t, db.Find(&[]Contact{}).Error) // takes the keys
				require.NoError(t, db.Transaction(find))
				require.NoError(t, db.Transaction(scan))

				create := func(tx *gorm.DB) error {
					return tx.Model(&Contact{}).Create(map[string]any{"person": "late", "email": newMail}).Error
				}
				require.ErrorIs(t, db.Transaction(create), gormfield.ErrPool)
				require.NoError(t, plugin.Ensure(db.Model(&Contact{}), map[string]any{"person": "late"}))
				require.NoError(t, db.Transaction(create))
				require.ErrorIs(t, plugin.Ensure(db, map[string]any{"person": "late"}), gormfield.ErrModel, "of which table?")
			})
		})
	}
}

// ContactCopy is another struct for contacts.
type ContactCopy struct {
	Person, Email, Notes, Phone, Street string
}

// Ensure says what will not be written.
func TestEnsureSaysWhoWasErased(t *testing.T) {
	e := newEnv(t, testdb.New(t, testdb.SQLite))
	e.stored(t)
	_, err := e.vault.Erase(t.Context(), "main", "p1")
	require.NoError(t, err)
	require.ErrorIs(t, e.plugin.Ensure(e.db, ann()), encryption.ErrErased)
	require.ErrorIs(t, e.plugin.Ensure(e.db, []*Contact{{Person: "p2"}, {Person: "p3", Calls: []Call{{Person: "p1"}}}}), encryption.ErrErased)
	require.NoError(t, e.plugin.Ensure(e.db, []*Contact{{Person: "p2"}, {Person: "p3"}}))
	require.NoError(t, e.plugin.Ensure(e.db, &Company{}), "nothing is sealed there")
}

// slowKeys answer the first question for owners not before it is given up.
type slowKeys struct {
	keystore.Store
	meanwhile func()
	owners    int // that were asked for
}

// Owners is for the vault.
func (s *slowKeys) Owners(ctx context.Context, tenant string, owners []string) (keystore.Rows, error) {
	s.owners += len(owners)
	if do := s.meanwhile; do != nil {
		s.meanwhile = nil
		do()
		<-ctx.Done()
		return keystore.Rows{}, ctx.Err()
	}
	return s.Store.Owners(ctx, tenant, owners)
}

// A Row is one row: the keys of one owner are fetched, whatever the query finds.
func TestARowAsksForOneOwner(t *testing.T) {
	dialector, raw := dialect(t, testdb.New(t, testdb.SQLite))
	for _, statement := range schemaFor(testdb.SQLite) {
		_, err := raw.ExecContext(t.Context(), statement)
		require.NoError(t, err)
	}
	keys := &slowKeys{Store: encryptiontest.Keys()}
	config := encryption.Config{Keys: keys, KEK: kek}
	vault, err := encryption.Create(t.Context(), config)
	require.NoError(t, err)
	require.NoError(t, vault.AddTenant(t.Context(), "main"))
	p := &poolOfOne{t: t, config: config, dialector: dialector, raw: raw}
	db, _ := p.use(vault)
	many := persons(5, "p")
	require.NoError(t, db.Create(&many).Error)
	db, _ = p.process()
	keys.owners = 0
	var person, email string
	require.NoError(t, db.Model(&Contact{}).Select("person", "email").Order("id").Row().Scan(&person, &email))
	require.Equal(t, many[0].Email, email)
	require.Equal(t, 1, keys.owners)
}

// Whoever waits for the connection of a transaction besides is not taken for the
// key store, which may be slow by itself.
func TestAnotherThatWaitsIsNotTheKeyStore(t *testing.T) {
	dialector, raw := dialect(t, testdb.New(t, testdb.SQLite))
	raw.SetMaxOpenConns(1)
	for _, statement := range schemaFor(testdb.SQLite) {
		_, err := raw.ExecContext(t.Context(), statement)
		require.NoError(t, err)
	}
	keys := &slowKeys{Store: encryptiontest.Keys()} // not on that connection
	config := encryption.Config{Keys: keys, KEK: kek}
	vault, err := encryption.Create(t.Context(), config)
	require.NoError(t, err)
	require.NoError(t, vault.AddTenant(t.Context(), "main"))
	require.NoError(t, vault.Ensure(t.Context(), "main", "p1"))
	vault, err = encryption.Open(t.Context(), config)
	require.NoError(t, err)
	p := &poolOfOne{t: t, dialector: dialector, raw: raw}
	db, _ := p.use(vault)

	ended := make(chan error, 1)
	err = db.Transaction(func(tx *gorm.DB) error {
		keys.meanwhile = func() {
			go func() { ended <- raw.PingContext(t.Context()) }()
		}
		return tx.Create(ann()).Error
	})
	require.NoError(t, err)
	require.Nil(t, keys.meanwhile, "the key store was asked")
	require.NoError(t, <-ended)
	var c Contact
	require.NoError(t, db.First(&c).Error)
	whole(t, c)
}
