package audit_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/audit"
	"github.com/crmguard/crmguard/audit/auditlog"
	"github.com/crmguard/crmguard/audit/audittest"
)

// A mirror that is not mounted is no empty one: nothing is counted as lost, and
// nothing of it is written over.
func TestNobodyCatchesUpWithoutTheMirrorThatWas(t *testing.T) {
	b, mirror := mirrored(t)
	b.record(update("a", 1))
	b.run()
	file := b.backup()
	b.record(update("p", 1))
	b.run()
	whole := mirror.FS()
	b.restore(file)
	mirror.Set(fstest.MapFS{})
	require.ErrorIs(t, b.trail.CatchUp(t.Context()), audit.ErrMirrorLost)
	mirror.Set(whole)
	require.NoError(t, b.trail.CatchUp(t.Context()))
	past := b.history(audit.About("p"))
	require.Len(t, past, 1)
	require.Equal(t, audit.OpeningOK, past[0].Changes[0].Verdict)
}

// To go on without it is said by leaving it out; what only the mirror has stays there.
func TestAMirrorKeepsWhatTheDatabaseHasLost(t *testing.T) {
	b, mirror := mirrored(t)
	b.record(update("a", 1))
	b.run()
	file := b.backup()
	b.record(update("p", 1))
	b.run()
	owner := b.surrogate("p")
	n := held(mirror.FS(), owner)
	require.NotZero(t, n)
	b.restore(file)
	b.config.Mirror = nil
	b.open()
	require.NoError(t, b.trail.CatchUp(t.Context()))
	b.config.Mirror = mirror
	b.open()
	for range 3 {
		b.record(update("q", 1))
		b.run()
		b.advance(time.Hour)
	}
	require.Equal(t, n, held(mirror.FS(), owner))
	require.Equal(t, auditlog.OK, b.verifyStore(b.checkpoint()).Verdict)
}

// A mirror in another folder, or emptied, is filled whole.
func TestANewMirrorIsFilled(t *testing.T) {
	b, mirror := mirrored(t)
	file := b.backup()
	b.fill(600)
	b.run()
	full := mirror.FS()
	mirror.Set(fstest.MapFS{})
	b.fill(3)
	b.run()
	for name := range full {
		require.Contains(t, mirror.FS(), name)
	}
	kept := b.checkpoint()
	b.restore(file)
	require.NoError(t, b.trail.CatchUp(t.Context()))
	b.run()
	report := b.verifyStore(kept)
	require.Equal(t, auditlog.OK, report.Verdict, "%+v", report.Faults)
	require.Zero(t, report.Openings[audit.OpeningLost])
	require.NotZero(t, report.Openings[audit.OpeningUnmapped])
}

// A mirror put back to before an erasure forgets the person again, in the next rounds,
// and files of it that were lost come back.
func TestAMirrorThatWasPutBackIsGoneOver(t *testing.T) {
	b, mirror := mirrored(t)
	b.fill(600)
	b.run()
	before := mirror.FS()
	owner := b.surrogate("p1")
	require.NoError(t, b.trail.Erase(t.Context(), "main", "p1"))
	b.run()
	require.Zero(t, held(mirror.FS(), owner))
	mirror.Set(before)
	delete(before, "openings/001")
	b.advance(time.Hour)
	b.run() // nothing is to be signed
	require.Zero(t, held(mirror.FS(), owner))
	require.Contains(t, mirror.FS(), "openings/001")
}

// One damaged file of the mirror, or a record of a tenant whose keys are away, costs
// what it held and stops nothing.
func TestADamagedMirrorStopsNoRestore(t *testing.T) {
	damages := map[string]func(name string, f *fstest.MapFile){
		"cut": func(name string, f *fstest.MapFile) {
			if strings.HasPrefix(name, "openings/") {
				f.Data = f.Data[:len(f.Data)-3]
			}
		},
		"a length": func(name string, f *fstest.MapFile) {
			if strings.HasPrefix(name, "openings/") {
				f.Data[len("crmguard/audit/openings/v1\n")+8+8+2] ^= 1
			}
		},
		"no file of the mirror": func(_ string, f *fstest.MapFile) { f.Data = []byte("x") },
		"a tenant without keys": func(name string, f *fstest.MapFile) {
			if strings.HasPrefix(name, "people/") {
				f.Data = []byte(strings.Replace(string(f.Data), "main", "nain", 1))
			}
		},
	}
	for what, damage := range damages {
		t.Run(what, func(t *testing.T) {
			b, mirror := mirrored(t)
			b.config.Keys = tenantDown{b.keys, "nain"}
			b.open()
			b.record(update("a", 1))
			b.run()
			file := b.backup()
			b.record(update("p", 1))
			b.run()
			files := mirror.FS()
			for name, f := range files {
				damage(name, f)
			}
			mirror.Set(files)
			b.restore(file)
			require.NoError(t, b.trail.CatchUp(t.Context()))
			b.record(update("q", 1))
			require.Equal(t, 2, b.run().Sequenced, "it, and the recovery")
			if what != "a tenant without keys" { // those rows were made by whoever writes there
				require.NotEqual(t, auditlog.Tampered, b.verifyStore(b.checkpoint()).Verdict)
			}
		})
	}
}

// A process that has no mirror does not end an erasure that the mirror of others has
// not heard of, until somebody says that there is none any more.
func TestAProcessWithoutTheMirrorEndsNoErasure(t *testing.T) {
	b, mirror := mirrored(t)
	b.fill(30)
	b.run()
	owners := [][]byte{b.surrogate("p1"), b.surrogate("p2")}
	worker := b.beside(func(c *audit.Config) { c.Mirror = nil })
	require.ErrorIs(t, worker.Erase(t.Context(), "main", "p1"), audit.ErrWaiting)
	b.run()
	require.Zero(t, held(mirror.FS(), owners[0]))
	require.NoError(t, worker.Erase(t.Context(), "main", "p1"), "it is at its end")

	require.ErrorIs(t, b.trail.DropMirror(t.Context()), audit.ErrInvalid)
	require.NoError(t, worker.DropMirror(t.Context()))
	require.NoError(t, worker.Erase(t.Context(), "main", "p2"))
	require.Zero(t, b.left("p2"))
}

// A key version is held as long as the mirror may hold heads under it, and a Reseal
// that was stopped in the middle is made good by the next.
func TestTheMirrorHoldsKeyVersions(t *testing.T) {
	b, mirror := mirrored(t)
	keys := &tagFails{Keys: b.keys}
	b.openWith(keys)
	b.fill(9)
	b.run()
	old := b.keys.Rotate()
	reseal := func() error {
		_, err := b.trail.Reseal(t.Context(), func(ctx context.Context, tenant, person string, sealed, ad []byte) ([]byte, error) {
			plain, err := b.keys.Open(ctx, tenant, person, sealed, ad)
			if err != nil || sealed[4] == 2 {
				return sealed, err
			}
			return b.keys.Seal(ctx, tenant, person, plain, ad)
		})
		return err
	}
	holders := func() int {
		n, _, err := b.trail.OpeningHolders(t.Context(), "main", old)
		require.NoError(t, err)
		return n
	}
	mirror.Fail = func(string, string) error { return errors.New("down") }
	require.Error(t, reseal())
	require.NotZero(t, holders())
	keys.fails.Store(true)
	require.Error(t, reseal())
	keys.fails.Store(false)
	mirror.Fail = nil
	require.NoError(t, reseal())
	require.Zero(t, holders())
	for name, f := range mirror.FS() {
		if strings.HasPrefix(name, "people/") {
			require.NotContains(t, string(f.Data), "\x01\x00\x00\x00\x01")
		}
	}
}

type tagFails struct {
	*audittest.Keys
	fails atomic.Bool
}

func (k *tagFails) Tag(ctx context.Context, tenant string, data []byte) ([]byte, error) {
	if k.fails.Load() {
		return nil, errors.New("away")
	}
	return k.Keys.Tag(ctx, tenant, data)
}

// A row of a surrogate that was committed behind one with a higher number, and behind
// the backup, comes back from the mirror's file before the last that the backup knew.
func TestAPersonOfAFileBeforeComesBack(t *testing.T) {
	b, _ := mirrored(t)
	var people []string
	for i := range 300 {
		people = append(people, fmt.Sprintf("x%d", i))
	}
	require.NoError(t, b.trail.Prepare(t.Context(), "main", people...))
	b.fill(1)
	b.run()
	file := b.backup()
	b.record(update("x150", 1))
	b.run()
	b.restore(file)
	require.Positive(t, b.exec(`DELETE FROM crmguard_audit_surrogates WHERE person = 'x150' AND n < 256`))
	require.NoError(t, b.trail.CatchUp(t.Context()))
	b.run()
	past := b.history(audit.About("x150"))
	require.Len(t, past, 1)
	require.Equal(t, audit.OpeningOK, past[0].Changes[0].Verdict)
}
