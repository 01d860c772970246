package audit_test

import (
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/audit"
	"github.com/crmguard/crmguard/audit/auditlog"
	"github.com/crmguard/crmguard/audit/audittest"
)

var anyOrders = flag.Int("restores", 5, "how many walks of restores in any order")

// Records, erasures, merges, backups and restores of database and mirror in any order:
// no published event is lost or there twice, who was erased is gone, and the trail
// verifies after each.
func TestRestoresInAnyOrder(t *testing.T) {
	for seed := range *anyOrders {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { restoresInAnyOrder(t, uint64(seed)) })
	}
}

func restoresInAnyOrder(t *testing.T, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 1))
	b := newBench(t)
	mirror := &audittest.Sink{}
	b.config.Mirror = mirror
	var kept []byte
	b.config.Kept = func(ctx) ([]byte, error) { return kept, nil }
	b.open()
	type snap struct {
		db     string
		mirror fstest.MapFS
		at     int
	}
	var snaps []snap
	var steps []string
	told := map[string]string{} // published ids -> person
	fresh := map[string]string{}
	gen := map[string]int{}
	person := func() string { p := fmt.Sprint("p", r.IntN(6)); return fmt.Sprint(p, "g", gen[p]) }
	merged := map[string]bool{}
	erased := map[string]bool{}
	step := func(f string, a ...any) { steps = append(steps, fmt.Sprintf(f, a...)) }
	defer func() {
		if t.Failed() {
			t.Log(steps)
		}
	}()
	publish := func() {
		_, err := b.trail.RunOnce(t.Context())
		require.NoError(t, err)
		maps.Copy(told, fresh)
		clear(fresh)
		kept = b.checkpoint()
	}
	record := func() {
		p := person()
		b.advance(time.Second)
		e := update(p, r.IntN(1000))
		if r.IntN(3) == 0 {
			q := person()
			e.Persons = append(e.Persons, q)
			e.Changes = append(e.Changes, audit.Change{Path: "phone", Who: q, New: fmt.Sprint("phone-", r.IntN(100))})
			if q == p {
				e.Changes = e.Changes[:2]
			}
		}
		fresh[b.record(e)] = p
		step("record %s", p)
	}
	check := func() {
		ids := map[string]int{}
		for _, l := range b.leaves() {
			ids[l.ID]++
		}
		for id := range told {
			require.Equal(t, 1, ids[id], "event %s of %s", id, told[id])
		}
		report := b.verifyStore(kept)
		require.Equal(t, auditlog.OK, report.Verdict, "%+v", report.Faults)
		for p := range erased {
			require.Zero(t, b.left(p), p)
			require.Empty(t, b.history(audit.About(p)), p)
		}
		require.Zero(t, b.count(`SELECT COUNT(*) FROM crmguard_audit_openings o JOIN crmguard_audit_surrogates s ON s.surrogate = o.owner WHERE s.state IN (1, 3)`))
		require.Zero(t, b.count(`SELECT COUNT(*) FROM crmguard_audit_surrogates WHERE state IN (1,3) AND (head IS NOT NULL OR person IS NOT NULL)`))
		// What the mirror has is all that the database has, and of nobody who was erased.
		both := 0
		mirrorKept(mirror.FS(), func(idx int64, owner []byte) {
			both += b.count(`SELECT COUNT(*) FROM crmguard_audit_openings WHERE idx = ? AND owner = ?`, idx, owner)
			require.Zero(t, b.count(`SELECT COUNT(*) FROM crmguard_audit_surrogates WHERE surrogate = ? AND state IN (1, 3)`, owner), "entry %d", idx)
		})
		require.Equal(t, b.count(`SELECT COUNT(*) FROM crmguard_audit_openings`), both, "openings in the mirror")
	}
	record()
	publish()
	for range 60 {
		switch n := r.IntN(20); {
		case n < 8:
			record()
		case n < 12:
			publish()
			step("publish")
		case n < 13:
			p := person()
			known := b.left(p) > 0 // not where a restore has lost who that is: a replay of erasures comes back to it
			require.NoError(t, b.trail.Erase(t.Context(), "main", p))
			step("erase %s", p)
			publish()
			publish()
			if known {
				erased[p] = true
			}
			gen[p[:2]]++
		case n < 14:
			p, q := person(), person()
			if p == q {
				continue
			}
			err := b.trail.Merge(t.Context(), "main", p, q)
			if err != nil {
				step("merge %s into %s: %v", p, q, err)
				continue
			}
			merged[p] = true
			step("merge %s into %s", p, q)
		case n < 16:
			snaps = append(snaps, snap{b.backup(), mirror.FS(), len(told)})
			step("backup %d", len(snaps)-1)
		case n < 18 && len(snaps) > 0:
			publish()
			i := r.IntN(len(snaps))
			step("restore %d", i)
			b.restore(snaps[i].db)
			for range r.IntN(4) {
				record()
			}
			if r.IntN(3) == 0 {
				p, q := person(), person()
				if p != q {
					err := b.trail.Merge(t.Context(), "main", p, q)
					step("merge %s into %s before CatchUp: %v", p, q, err)
				}
			}
			if r.IntN(3) == 0 {
				_, err := b.trail.RunOnce(t.Context())
				if err != nil && !errors.Is(err, audit.ErrBehind) {
					require.NoError(t, err)
				}
			}
			for range r.IntN(3) { // interrupted
				left := r.IntN(12)
				fail := func(string, string) error {
					if left--; left < 0 {
						return errCue
					}
					return nil
				}
				if r.IntN(2) == 0 {
					mirror.Fail = fail
				} else {
					b.sink.Fail = fail
				}
				step("CatchUp interrupted: %v", b.trail.CatchUp(t.Context()))
				mirror.Fail, b.sink.Fail = nil, nil
				if r.IntN(2) == 0 {
					b.open()
				}
				record()
			}
			require.NoError(t, b.trail.CatchUp(t.Context()))
			publish()
			publish()
			check()
		case n == 18 && r.IntN(2) == 0:
			b.advance(time.Second)
			for _, id := range b.fill(100 + r.IntN(1200)) {
				fresh[id] = "fill"
			}
			step("fill")
		case n == 18:
			b.keys.Rotate()
			_, err := b.trail.Reseal(t.Context(), func(ctx ctx, tenant, person string, sealed, ad []byte) ([]byte, error) {
				plain, err := b.keys.Open(ctx, tenant, person, sealed, ad)
				if err != nil {
					return nil, err
				}
				return b.keys.Seal(ctx, tenant, person, plain, ad)
			})
			require.NoError(t, err)
			step("reseal")
		case n == 19 && r.IntN(3) == 0 && len(snaps) > 0: // the mirror alone is of the same day as the database
			publish()
			i := r.IntN(len(snaps))
			step("restore %d with its mirror", i)
			b.restore(snaps[i].db)
			mirror.Set(snaps[i].mirror)
			record()
			require.NoError(t, b.trail.CatchUp(t.Context()))
			publish()
			publish()
			check()
		case n == 19:
			b.advance(time.Duration(r.IntN(100)) * time.Hour)
		}
	}
	publish()
	publish()
	check()
}

// mirrorKept tells of each opening in a mirror.
func mirrorKept(files fstest.MapFS, has func(idx int64, owner []byte)) {
	for name, f := range files {
		if !strings.HasPrefix(name, "openings/") {
			continue
		}
		data := f.Data[len("crmguard/audit/openings/v1\n")+8:]
		for len(data) > 0 {
			idx := binary.BigEndian.Uint64(data)
			n := binary.BigEndian.Uint32(data[8:])
			has(int64(idx), data[12:12+n])
			data = data[12+n:]
			data = data[4+binary.BigEndian.Uint32(data):]
		}
	}
}
