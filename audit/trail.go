package audit

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/mod/sumdb/note"

	"github.com/crmguard/crmguard/audit/internal/c2sp"
	"github.com/crmguard/crmguard/audit/internal/decided"
	"github.com/crmguard/crmguard/audit/internal/losses"
	"github.com/crmguard/crmguard/audit/internal/passes"
	"github.com/crmguard/crmguard/internal/sqldb"
)

// Trail records events and keeps their log. It is safe for concurrent use, in
// several processes over the same database and sink.
type Trail struct {
	vain    vain     // heads that did not open
	handles sync.Map // of a reflect.Type: its handle.Kind
	db      *sqldb.DB
	config  Config
	origin  string
	key     c2sp.Keys // their name is the origin
	fields  map[string]map[string]bool
	random  func([]byte) error

	copies   []*duplicate // what this process knows of Config.Copies
	mirrored mirroring    // and of Config.Mirror
	passes   passes.All   // of this process
	asked    questions    // of this process, by Status
	memory   memory       // of this process
	tickets  tickets      // of this process
	gaps     losses.All   // of this process
	decided  decided.All  // of this process
	erased   erasedPeople // by this process
	classes  classes
	saleText string // the statement of a sale

	capturedForged forgedRows // of this process

	again [len(whysLate)]atomic.Int64 // of each reason the last row aside that was looked at again

	filing, finding pace         // of this process
	pruning         pace         // the same
	sales           sales        // that come while it works
	lookedAtAll     atomic.Bool  // the whole queue was read once
	thinned         atomic.Int64 // when heads were thinned, microseconds
	lateFor         time.Duration
	publishEach     int
	packet          int64 // what a statement may be at most, in bytes; 0: nobody says
}

// Open checks the tables and the configuration and claims the log: the first
// Open over empty tables writes the origin into them, later ones compare it.
func Open(ctx context.Context, store Store, config Config) (*Trail, error) {
	t := &Trail{config: config, random: readRandom, lateFor: lateFor, publishEach: publishEach}
	if err := t.configure(store); err != nil {
		return nil, err
	}
	if err := store.Check(ctx); err != nil {
		return nil, fmt.Errorf("audit: open: %w", err)
	}
	var err error
	if t.db, err = sqldb.Open(ctx, store.DB()); err != nil {
		return nil, fmt.Errorf("audit: open: %w", err)
	}
	if err := t.declareCaptured(ctx); err != nil {
		return nil, err
	}
	if t.saleText, err = t.insertInto(ctx); err != nil {
		return nil, fmt.Errorf("audit: open: %w", err)
	}
	if err := t.askPacket(ctx); err != nil {
		return nil, fmt.Errorf("audit: open: %w", err)
	}
	if err := t.claim(ctx); err != nil {
		return nil, fmt.Errorf("audit: open: %w", err)
	}
	return t, nil
}

func readRandom(b []byte) error {
	_, err := rand.Read(b)
	return err
}

func (t *Trail) configure(store Store) error {
	c := &t.config
	if names := t.missing(store); len(names) > 0 {
		return invalid("open: missing: %s", strings.Join(names, ", "))
	}
	if err := c.signers(); err != nil {
		return err
	}
	if err := checkName(c.Name, c.Recoveries); err != nil {
		return invalid("open: %w", err)
	}
	if err := checkTenant("Tenant", c.Tenant); err != nil {
		return fmt.Errorf("audit: open: %w", err)
	}
	t.origin = Origin(c.Name, c.Recoveries)
	keys, err := c2sp.ParseKeys(c.Verifier, c.Former)
	if errors.Is(err, c2sp.ErrOtherLog) {
		return fmt.Errorf("%w: %w", ErrOrigin, err)
	}
	if err != nil {
		return invalid("open: %w", err)
	}
	switch verifier := keys[0]; {
	case verifier.Name() != t.origin && verifier.Name() == c.Name:
		return fmt.Errorf("%w: Name is without the counter: the key belongs to %q, and Name and Recoveries make %q", ErrOrigin, verifier.Name(), t.origin)
	case verifier.Name() != t.origin:
		return fmt.Errorf("%w: the key belongs to %q, this log is %q", ErrOrigin, verifier.Name(), t.origin)
	case c.Signer.Name() != t.origin:
		return fmt.Errorf("%w: Signer signs for %q, this log is %q", ErrOrigin, c.Signer.Name(), t.origin)
	case c.Signer.KeyHash() != verifier.KeyHash():
		return fmt.Errorf("%w: Signer and Verifier are not of one pair", ErrOrigin)
	}
	t.key = keys
	if err := t.checkSigners(); err != nil {
		return err
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Interval <= 0 {
		c.Interval = time.Second
	}
	if c.BeatEvery <= 0 {
		c.BeatEvery = time.Minute
	}
	if c.KeptEvery <= 0 {
		c.KeptEvery = 10 * time.Minute
	}
	if err := t.declareCopies(); err != nil {
		return err
	}
	if c.Prepared < 0 || c.Prepared > 10*time.Minute {
		return invalid("open: Prepared is at most ten minutes")
	}
	if c.RetryFor < 0 || c.RetryFor > 30*24*time.Hour {
		return invalid("open: RetryFor is at most 30 days")
	}
	if t.classes, err = newClasses(c.Classes); err != nil {
		return err
	}
	return t.declare()
}

// missing names what a trail cannot do without and was not given.
func (t *Trail) missing(store Store) (names []string) {
	c := &t.config
	for _, m := range []struct {
		name string
		is   bool
	}{
		{"the store", store == nil},
		{"Name", c.Name == ""},
		{"Tenant", c.Tenant == ""},
		{"Key (the first result of GenerateKey; or Signer and Verifier, of a KMS)", c.Key == "" && (c.Signer == nil || c.Verifier == "")},
		{"Sink", c.Sink == nil},
		{"Keys (KeysFile, KeysFrom or AuditKeys of a vault)", c.Keys == nil},
	} {
		if m.is {
			names = append(names, m.name)
		}
	}
	return names
}

// checkName refuses what cannot be the name of a signer.
func checkName(name string, recoveries int) error {
	switch {
	case name == "":
		return errors.New("the name of the log is empty")
	case !utf8.ValidString(name) || strings.Contains(name, "+") || strings.ContainsFunc(name, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }):
		return errors.New("the name of the log holds '+', white space or control characters, or is not UTF-8")
	case recoveries < 0:
		return errors.New("the number of recoveries is below 0")
	}
	return nil
}

// ready refuses a Trail that did not come from Open.
func (t *Trail) ready() error {
	if t == nil || t.db == nil {
		return ErrNotOpen
	}
	return nil
}

func (t *Trail) declare() error {
	for _, kind := range t.config.PersonKinds {
		if !codes.MatchString(kind) {
			return invalid("open: one of PersonKinds is no code such as contact")
		}
	}
	if t.config.PersonKinds != nil && !slices.Contains(t.config.PersonKinds, anyPerson) {
		t.config.PersonKinds = append(slices.Clone(t.config.PersonKinds), anyPerson)
	}
	t.fields = make(map[string]map[string]bool)
	for kind, names := range t.config.Fields {
		t.fields[kind] = make(map[string]bool)
		for _, name := range names {
			if !fields.MatchString(name) {
				return invalid("open: a declared field name of %q has a form that the log cannot show", kind)
			}
			t.fields[kind][name] = true
		}
	}
	return nil
}

// declared reports whether the path may stand in the log; the recorder's own
// fields always may.
func (t *Trail) declared(kind, path string) bool {
	return t.fields[kind][path] || path == "digest" || path == "count"
}

// Origin is the name of a log in its checkpoints: name/recoveries.
func Origin(name string, recoveries int) string { return name + "/" + strconv.Itoa(recoveries) }

// GenerateKey makes the signing key of a log (Config.Key), which is a secret, and
// the verifier key for whoever checks the log, both in the text form of
// golang.org/x/mod/sumdb/note. A key in a KMS is Config.Signer and Config.Verifier
// instead. name is Config.Name, without the counter.
func GenerateKey(name string, recoveries int) (key, verifier string, err error) {
	if err := checkName(name, recoveries); err != nil {
		return "", "", invalid("generate key: %w", err)
	}
	return note.GenerateKey(rand.Reader, Origin(name, recoveries))
}

// Origin returns the name of this log in its checkpoints, "" for a Trail that
// did not come from [Open].
func (t *Trail) Origin() string {
	if t == nil {
		return ""
	}
	return t.origin
}

func (t *Trail) now() time.Time { return t.config.Now().UTC().Truncate(time.Microsecond) }

func (t *Trail) observe(ctx context.Context, name string, value float64, attrs ...slog.Attr) {
	if t.config.Observe != nil {
		t.config.Observe(ctx, name, value, attrs...)
	}
}
