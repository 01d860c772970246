package audit

import (
	"context"
	"errors"
	"log/slog"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/audit/auditlog"
)

// A class lets pass what kept the event from being written, and nothing that is
// wrong with the call: noting fails by it, and nothing is counted.
func TestANoteThatIsWrongIsNoLoss(t *testing.T) {
	s := newSQLiteTill(t)
	s.classed(t)
	e := reading(t, "page.view")
	_, err := s.note(t.Context(), e)
	require.NoError(t, err)
	e.Reason = "other"
	_, err = s.note(t.Context(), e)
	require.ErrorIs(t, err, ErrConflict)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = s.note(ended, reading(t, "page.view"))
	require.ErrorIs(t, err, context.Canceled)
	s.origin = "crm.example/audit/1"
	_, err = s.note(t.Context(), reading(t, "page.view"))
	require.ErrorIs(t, err, ErrOrigin)
	require.Zero(t, s.gaps.Number())
}

// downKeysOf are keys that do not answer for one tenant.
type downKeysOf struct {
	Keys
	tenant string
}

var errDown = errors.New("the key service is down")

func (k *downKeysOf) MACKeys(ctx context.Context, tenant string, info []byte) ([]uint32, [][]byte, error) {
	if tenant == k.tenant {
		return nil, nil, errDown
	}
	return k.Keys.MACKeys(ctx, tenant, info)
}

// What was lost is written by whoever prepares or notes next, in any tenant; where
// that fails neither does, and the number stays.
func TestWhoComesNextWritesTheGap(t *testing.T) {
	for name, call := range map[string]func(s *till) error{
		"Prepare": func(s *till) error { return s.Prepare(s.t.Context(), "main", "p1") },
		"Note": func(s *till) error {
			_, err := s.Note(s.t.Context(), reading(s.t.(*testing.T), "page.view"))
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSQLiteTill(t)
			keys := &downKeysOf{s.config.Keys, "other"}
			s.config.Keys = keys
			failed := 0
			s.config.Observe = func(_ context.Context, name string, _ float64, _ ...slog.Attr) {
				if name == "audit.gap.failed" {
					failed++
				}
			}
			s.missed(t.Context(), &Event{Tenant: "other"}, class{name: "page."})
			require.NoError(t, call(s))
			require.EqualValues(t, 1, s.gaps.Number())
			require.Equal(t, 1, failed)
			keys.tenant = ""
			require.NoError(t, call(s))
			require.Zero(t, s.gaps.Number())
			require.Equal(t, 1, failed)
			gaps := 0
			for _, l := range s.waitingLeaves(t) {
				if l.Kind == auditlog.KindGap {
					gaps++
				}
			}
			require.Equal(t, 1, gaps)
		})
	}
}

// A note tells of the values that had no encoding, as a sale does.
func TestANoteTellsOfStandIns(t *testing.T) {
	s := newSQLiteTill(t)
	var why []string
	s.config.Observe = func(_ context.Context, name string, _ float64, attrs ...slog.Attr) {
		if name == "audit.standin" {
			why = append(why, attrs[0].Value.String())
		}
	}
	e := reading(t, "page.view")
	e.Changes[0].New = math.NaN()
	_, err := s.note(t.Context(), e)
	require.NoError(t, err)
	require.Equal(t, []string{auditlog.StandInFloat}, why)
}

// Whoever a context names is whose tenant is prepared.
func TestPreparingForTheTenantOfTheContext(t *testing.T) {
	s := newSQLiteTill(t)
	s.config.From = func(context.Context) Caller { return Caller{Tenant: "main", Actor: "u-1"} }
	require.NoError(t, s.Prepare(t.Context(), "", "p1"))
	e := sold(t, "p1")
	e.Tenant, e.Actor = "", ""
	_, err := s.in(e)
	require.NoError(t, err)
	own := sold(t, "p1")
	own.Tenant, own.Actor = "other", "u-2" // what the event says itself counts more
	_, err = s.note(t.Context(), own)
	require.NoError(t, err)
	leaves := s.waitingLeaves(t)
	require.Equal(t, []string{"main", "u-1"}, []string{leaves[0].Tenant, leaves[0].Actor})
	require.Equal(t, []string{"other", "u-2"}, []string{leaves[1].Tenant, leaves[1].Actor})
}
