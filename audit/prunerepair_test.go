package audit_test

import (
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/audit"
	"github.com/crmguard/crmguard/audit/auditlog"
	"github.com/crmguard/crmguard/audit/audittest"
	"github.com/crmguard/crmguard/audit/tilehttp"
)

// moment is a database and its sinks, to begin from many times.
type moment struct {
	file         string
	sink, mirror map[string][]byte
}

func contents(s audit.Sink) map[string][]byte {
	out := make(map[string][]byte)
	for name, f := range s.(*audittest.Sink).FS() {
		out[name] = f.Data
	}
	return out
}

func (b *bench) moment() moment {
	return moment{b.backup(), contents(b.sink), contents(b.config.Mirror)}
}

// at goes back to a moment: database, folder and mirror.
func (b *bench) at(m moment) {
	b.t.Helper()
	fill := func(files map[string][]byte) *audittest.Sink {
		s := &audittest.Sink{}
		for name, data := range files {
			require.NoError(b.t, s.WriteFile(b.t.Context(), name, data))
		}
		return s
	}
	b.sink = fill(m.sink)
	b.config.Sink, b.config.Mirror = b.sink, fill(m.mirror)
	require.NoError(b.t, b.db.Close())
	data, err := os.ReadFile(m.file)
	require.NoError(b.t, err)
	b.file = filepath.Join(b.t.TempDir(), "again.db")
	require.NoError(b.t, os.WriteFile(b.file, data, 0o600))
	b.db = openDB(b.t, b.file)
	b.keeps()
}

// A prune is stopped at every single call of a sink that changes it, in a process that
// ends there: the next one goes on, and in between nothing is taken for tampered with.
func TestAPruneThatIsStoppedAnywhereGoesOn(t *testing.T) {
	b, _ := oldBench(t, 530, 30)
	before := b.moment()
	for call := 1; ; call++ {
		b.at(before)
		calls := 0
		fail := func(op, _ string) error {
			if op == "read" {
				return nil
			}
			if calls++; calls >= call {
				return errCue
			}
			return nil
		}
		b.sink.Fail, b.config.Mirror.(*audittest.Sink).Fail = fail, fail
		_, err := b.trail.Prune(t.Context(), b.yearAgo())
		b.sink.Fail, b.config.Mirror.(*audittest.Sink).Fail = nil, nil
		stopped := calls >= call
		if !stopped {
			require.NoError(t, err)
		}
		b.keeps() // another process
		report := b.verifyStore(b.checkpoint())
		require.Contains(t, []auditlog.Verdict{auditlog.OK, auditlog.Incomplete}, report.Verdict, "call %d: %+v", call, report.Faults)
		b.fill(2)
		b.run()
		require.Equal(t, int64(512), b.prune().Pruned)
		b.sound()
		for _, name := range []string{"tile/entries/000", "tile/entries/001"} {
			require.NotContains(t, contents(b.sink), name, "call %d", call)
		}
		for _, name := range []string{"openings/000", "openings/001"} {
			require.NotContains(t, contents(b.config.Mirror), name, "call %d", call)
		}
		if !stopped {
			require.Greater(t, call, 8, "a counter that counts nothing")
			return
		}
	}
}

// A prune is told and not done, and then a hold comes: the log takes its word back.
func TestAHoldThatComesBetweenIsKeptTo(t *testing.T) {
	b, _ := oldBench(t, 530, 30)
	b.exec(`CREATE TRIGGER stop BEFORE UPDATE ON crmguard_audit_state WHEN NEW.pruned > OLD.pruned BEGIN SELECT RAISE(ABORT, 'stop'); END`)
	_, err := b.trail.Prune(t.Context(), b.yearAgo())
	require.Error(t, err)
	b.exec(`DROP TRIGGER stop`)
	require.Equal(t, 1, b.toldOf(auditlog.KindPrune))
	require.Zero(t, b.pruned())
	require.Equal(t, auditlog.Incomplete, b.verifyStore(b.checkpoint()).Verdict)
	b.config.Hold = func(ctx, string) (time.Time, error) { return b.config.Now().Add(time.Hour), nil }
	b.keeps()
	r := b.prune()
	require.Zero(t, r.Pruned)
	require.Equal(t, "main", r.Held)
	b.sound()
	require.Equal(t, 2, b.toldOf(auditlog.KindPrune))
	require.Equal(t, 530+30, b.count(`SELECT COUNT(*) FROM crmguard_audit_openings WHERE owner = zeroblob(16)`))
	b.config.Hold = nil
	b.keeps()
	require.Equal(t, int64(512), b.prune().Pruned)
	b.sound()
}

// What was lost of a log that went with retention in part comes back as of any other,
// and what went does not.
func TestRepairsOfAPrunedLog(t *testing.T) {
	for name, c := range map[string]struct {
		damage []string
		files  func(b *bench)
		repair func(b *bench) error
	}{
		"the state row gone":       {[]string{`DELETE FROM crmguard_audit_state`}, nil, rebuild},
		"the state row forged":     {[]string{`UPDATE crmguard_audit_state SET pruned = 0`}, nil, rebuild},
		"the same, by CatchUp":     {[]string{`UPDATE crmguard_audit_state SET tag = x'00'`}, nil, catchUp},
		"an older state row":       {[]string{`DELETE FROM crmguard_audit_state`, `INSERT INTO crmguard_audit_state SELECT * FROM old_state`}, nil, catchUp},
		"tiles of what is gone":    {[]string{`UPDATE crmguard_audit_tiles SET data = zeroblob(8192) WHERE level = 0 AND n = 1`}, nil, rebuild},
		"all tiles":                {[]string{`DELETE FROM crmguard_audit_tiles`}, nil, rebuild},
		"the folder":               {nil, func(b *bench) { b.sink.Set(nil) }, republish},
		"hash tiles of the folder": {nil, func(b *bench) { b.lose("tile/0/000", "tile/0/001") }, republish},
		"tiles, and no folder": {[]string{`UPDATE crmguard_audit_tiles SET data = zeroblob(64) WHERE level = 1`}, func(b *bench) { b.sink.Set(nil) }, func(b *bench) error {
			if err := rebuild(b); err != nil {
				return err
			}
			return republish(b)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			b, _ := oldBench(t, 530, 10)
			b.exec(`CREATE TABLE old_state AS SELECT * FROM crmguard_audit_state`)
			b.prune()
			b.fill(10)
			b.run()
			kept := b.checkpoint()
			b.config.Kept = func(ctx) ([]byte, error) { return kept, nil }
			b.open()
			b.run()
			for _, q := range c.damage {
				b.exec(q)
			}
			if c.files != nil {
				c.files(b)
			}
			require.NoError(t, c.repair(b))
			b.run()
			require.Equal(t, 512, b.pruned())
			require.NotContains(t, b.sink.FS(), "tile/entries/000")
			require.Contains(t, b.sink.FS(), "tile/0/000")
			report := b.verifyStore(kept)
			require.Equal(t, auditlog.OK, report.Verdict, "%+v", report.Faults)
			require.Equal(t, int64(512), report.Log.Pruned)
			b.fill(3)
			b.run()
			require.Equal(t, auditlog.OK, b.verifyStore(kept).Verdict)
		})
	}
}

func rebuild(b *bench) error {
	_, err := b.trail.RebuildTiles(b.t.Context())
	return err
}

func republish(b *bench) error {
	_, err := b.trail.Republish(b.t.Context())
	return err
}

func catchUp(b *bench) error { return b.trail.CatchUp(b.t.Context()) }

// Copies lose what went, and one that is filled later never gets it; one that is away
// is told of, and loses it with the next call.
func TestCopiesOfAPrunedLog(t *testing.T) {
	b, _ := oldBench(t, 530, 10)
	first, late, away := &audittest.Sink{}, &audittest.Sink{}, &audittest.Sink{}
	b.config.Copies = []audit.Sink{first, away}
	b.open()
	b.fill(1)
	b.run()
	require.Contains(t, first.FS(), "tile/entries/001")
	require.Contains(t, away.FS(), "tile/entries/001")
	away.Fail = func(string, string) error { return errCue }
	_, err := b.trail.Prune(t.Context(), b.yearAgo())
	require.ErrorIs(t, err, errCue)
	require.ErrorContains(t, err, "Copies[1]")
	require.NotContains(t, first.FS(), "tile/entries/001")
	require.Zero(t, b.count(`SELECT COUNT(*) FROM crmguard_audit_entries WHERE idx < 512`), "nobody else keeps it")
	b.sound()
	away.Fail = nil
	b.prune()
	require.NotContains(t, away.FS(), "tile/entries/001")
	b.config.Copies = append(b.config.Copies, late)
	b.open()
	b.fill(1)
	b.run()
	b.run()
	for _, s := range []*audittest.Sink{first, away, late} {
		require.Empty(t, files(s, "tile/entries/000"))
		kept := b.checkpoint()
		r, err := auditlog.VerifyLog(t.Context(), s.FS(), auditlog.Trust{Key: b.config.Verifier, Kept: kept})
		require.NoError(t, err)
		require.Equal(t, auditlog.OK, r.Verdict, "%+v", r.Faults)
		require.Equal(t, int64(512), r.Pruned)
	}
}

// The keys of the tags change on a pruned log: the mark is what the log says.
func TestTheKeysOfTagsChangeOnAPrunedLog(t *testing.T) {
	b := newBench(t)
	b.keeps()
	b.fill(100)
	require.NoError(t, b.trail.Erase(t.Context(), "main", "p1"))
	b.fill(170)
	b.run()
	b.advance(2 * year)
	b.record(update("p0", 1))
	b.run()
	b.prune()
	b.sound()
	b.config.Keys = otherTags{b.keys, audittest.NewKeys()}
	b.open()
	_, err := b.trail.RunOnce(t.Context())
	require.ErrorIs(t, err, auditlog.ErrTampered)
	require.NoError(t, b.trail.CatchUp(t.Context()))
	b.record(update("p5", 1))
	b.run()
	require.Equal(t, 256, b.pruned())
	b.sound()
}

// otherTags are keys that seal as before, and tag under others.
type otherTags struct {
	*audittest.Keys
	tags *audittest.Keys
}

func (o otherTags) Tag(c ctx, tenant string, data []byte) ([]byte, error) {
	return o.tags.Tag(c, tenant, data)
}

func (o otherTags) Verify(c ctx, tenant string, data, tag []byte) error {
	return o.tags.Verify(c, tenant, data, tag)
}

func (o otherTags) MACKeys(c ctx, tenant string, info []byte) ([]uint32, [][]byte, error) {
	return o.tags.MACKeys(c, tenant, info)
}

// A key that was revoked counts no more, also when the entry that said so went.
func TestARevocationOutlivesAPrune(t *testing.T) {
	b := newBench(t)
	old, fresh := pair{b.config.Signer, b.config.Verifier}, newPair(t, "crm.example/audit")
	b.fill(10)
	b.run()
	b.config.Signer, b.config.Verifier, b.config.Former = fresh.sign, fresh.key, []string{old.key}
	b.open()
	b.fill(1)
	b.run()
	require.NoError(t, b.trail.RevokeKey(t.Context(), old.key))
	b.fill(250)
	b.run()
	b.keeps()
	b.advance(2 * year)
	b.fill(1)
	b.run()
	require.Equal(t, int64(256), b.prune().Pruned)
	trust := auditlog.Trust{Key: fresh.key, Former: []string{old.key}, Kept: b.checkpoint()}
	r, err := auditlog.VerifyLog(t.Context(), b.sink.FS(), trust)
	require.NoError(t, err)
	require.Equal(t, auditlog.OK, r.Verdict, "%+v", r.Faults)
	require.Len(t, r.Keys, 1, "the log says it again")
	require.True(t, r.Keys[0].Revoked)
	b.sound()
}

// Over HTTP what is gone is not there, and all else is: whoever reads the log from the
// handler verifies what is left of it.
func TestThePrunedLogOverHTTP(t *testing.T) {
	b, _ := oldBench(t, 530, 10)
	b.prune()
	server := httptest.NewServer(tilehttp.Handler(b.trail))
	defer server.Close()
	read := func(_ ctx, name string) ([]byte, error) {
		r, err := server.Client().Get(server.URL + "/" + name)
		if err != nil {
			return nil, err
		}
		defer r.Body.Close()
		if r.StatusCode == http.StatusNotFound {
			return nil, fs.ErrNotExist
		}
		require.Equal(t, http.StatusOK, r.StatusCode, name)
		return io.ReadAll(r.Body)
	}
	_, err := read(t.Context(), "tile/entries/001")
	require.ErrorIs(t, err, fs.ErrNotExist)
	_, err = read(t.Context(), "tile/entries/002.p/2")
	require.NoError(t, err)
	trust := b.trust()
	trust.Kept = b.checkpoint()
	w := auditlog.Walk{Read: read, Trust: trust}
	r, err := w.Verify(t.Context())
	require.NoError(t, err)
	require.Equal(t, auditlog.OK, r.Verdict, "%+v", r.Faults)
	require.Equal(t, int64(512), r.Pruned)
}

// A prune that was not brought to an end is told of.
func TestStatusOfAPrunedLog(t *testing.T) {
	b, _ := oldBench(t, 300, 10)
	b.prune()
	require.Equal(t, audit.HealthOK, b.found("audit.pruned", "").Level)
	require.EqualValues(t, 256, b.found("audit.pruned", "").Value)
	b.exec(`INSERT INTO crmguard_audit_persons VALUES (3, 1, 1)`)
	require.Equal(t, audit.HealthNotice, b.found("audit.pruned", "").Level)
	b.prune()
	require.Equal(t, audit.HealthOK, b.found("audit.pruned", "").Level)
}

// Two processes prune at once.
func TestTwoProcessesPrune(t *testing.T) {
	b, _ := oldBench(t, 800, 10)
	beside := b.beside(func(*audit.Config) {})
	errs := make(chan error, 2)
	for _, trail := range []*audit.Trail{b.trail, beside} {
		go func() {
			_, err := trail.Prune(t.Context(), b.yearAgo())
			errs <- err
		}()
	}
	require.NoError(t, <-errs)
	require.NoError(t, <-errs)
	require.Equal(t, 768, b.pruned())
	b.sound()
}
