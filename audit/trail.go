package audit

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/mod/sumdb/note"

	"github.com/crmguard/crmguard/audit/internal/c2sp"
	"github.com/crmguard/crmguard/internal/frame"
	"github.com/crmguard/crmguard/internal/sqldb"
)

// Trail records events and keeps their log. It is safe for concurrent use, in
// several processes over the same database and sink.
type Trail struct {
	db     *sqldb.DB
	config Config
	origin string
	key    c2sp.Keys // their name is the origin
	fields map[string]map[string]bool
	random func([]byte) error

	copies []*duplicate // what this process knows of Config.Copies
	passes passRecord   // of this process
	memory memory       // of this process
	swept  atomic.Int64 // retry tags of what was sequenced before are gone, microseconds
}

// Open checks the tables and the configuration and claims the log: the first
// Open over empty tables writes the origin into them, later ones compare it.
func Open(ctx context.Context, store Store, config Config) (*Trail, error) {
	t := &Trail{config: config, random: readRandom}
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
	if c.Keys != nil {
		if c.Seal != nil || c.Tag != nil {
			return invalid("open: Keys stands for Seal and Tag: set either")
		}
		c.Seal, c.Tag = c.Keys, c.Keys
	}
	if names := t.missing(store); len(names) > 0 {
		return invalid("open: missing: %s", strings.Join(names, ", "))
	}
	if err := checkName(c.Name, c.Recoveries); err != nil {
		return invalid("open: %w", err)
	}
	if err := checkTenant("Tenant", c.Tenant); err != nil {
		return fmt.Errorf("audit: open: %w", err)
	}
	t.origin = Origin(c.Name, c.Recoveries)
	keys, err := c2sp.ParseKeys(c.Key, c.Former)
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
		return fmt.Errorf("%w: Key belongs to %q, this log is %q", ErrOrigin, verifier.Name(), t.origin)
	case c.Sign.Name() != t.origin:
		return fmt.Errorf("%w: Sign signs for %q, this log is %q", ErrOrigin, c.Sign.Name(), t.origin)
	case c.Sign.KeyHash() != verifier.KeyHash():
		return fmt.Errorf("%w: Sign and Key are not of one pair", ErrOrigin)
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
		{"Sign", c.Sign == nil},
		{"Key (the second result of GenerateKey)", c.Key == ""},
		{"Sink", c.Sink == nil},
		{"Keys (or Seal and Tag)", c.Seal == nil || c.Tag == nil},
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

// GenerateKey makes the signing key of a log and its verifier key, both in the
// text form of golang.org/x/mod/sumdb/note. A key in a KMS is a [note.Signer]
// of the same name instead. name is Config.Name, without the counter.
func GenerateKey(name string, recoveries int) (signer, verifier string, err error) {
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

// Prepare fetches what recording about these persons needs, so that [Trail.Record]
// finds it without a connection. Call it before the transaction begins.
func (t *Trail) Prepare(ctx context.Context, tenant string, persons ...string) error {
	if err := t.ready(); err != nil {
		return err
	}
	if err := checkTenant("tenant", tenant); err != nil {
		return err
	}
	if t.config.Prepare != nil {
		if err := t.config.Prepare(ctx, tenant, persons...); err != nil {
			return fmt.Errorf("audit: prepare: %w", err)
		}
	}
	if _, err := t.config.Tag.Tag(ctx, tenant, frame.Join("crmguard/audit/prepare/v1")); err != nil {
		return fmt.Errorf("audit: prepare: %w", err)
	}
	return nil
}

func (t *Trail) now() time.Time { return t.config.Now().UTC().Truncate(time.Microsecond) }

func (t *Trail) observe(ctx context.Context, name string, value float64, attrs ...slog.Attr) {
	if t.config.Observe != nil {
		t.config.Observe(ctx, name, value, attrs...)
	}
}
