package tilehttp_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/audit/internal/c2sp"
	"github.com/crmguard/crmguard/audit/tilehttp"
)

// stuck is a client that takes nothing, until the deadline that it was given.
type stuck struct {
	httptest.ResponseRecorder
	inside *atomic.Int64
	mu     sync.Mutex
	until  time.Time
}

func (s *stuck) SetWriteDeadline(at time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.until = at
	return nil
}

func (s *stuck) Write(part []byte) (int, error) {
	s.mu.Lock()
	until := s.until
	s.mu.Unlock()
	if s.Code != http.StatusOK {
		return s.ResponseRecorder.Write(part)
	}
	s.inside.Add(1)
	defer s.inside.Add(-1)
	if until.IsZero() {
		time.Sleep(24 * time.Hour)
	}
	time.Sleep(time.Until(until))
	return 0, os.ErrDeadlineExceeded
}

// largest is the largest bundle there is.
func largest(t *testing.T) (out []byte) {
	t.Helper()
	leaf := make([]byte, 1<<16-1)
	for range c2sp.TileWidth {
		var err error
		out, err = c2sp.AppendEntry(out, leaf)
		require.NoError(t, err)
	}
	return out
}

// Of forty clients that ask for a large bundle and take nothing eight are answered at a
// time, the others are told to come again, and checkpoints are served meanwhile. Those
// who take nothing for half a minute make room.
func TestClientsThatDoNotReadHoldLittle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bundle := largest(t)
		files, _ := newLog(t, 300)
		handler := tilehttp.Handler(asked(func(ctx context.Context, name string) ([]byte, error) {
			if name == "tile/entries/000" {
				return append([]byte{}, bundle...), nil
			}
			return files.Published(ctx, name)
		}))
		memory := func() uint64 {
			runtime.GC()
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			return m.HeapAlloc
		}
		before := memory()
		var inside atomic.Int64
		answers := make(chan int, 40)
		for range cap(answers) {
			go func() {
				w := &stuck{ResponseRecorder: *httptest.NewRecorder(), inside: &inside}
				handler.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/tile/entries/000", http.NoBody))
				answers <- w.Code
			}()
		}
		synctest.Wait()
		require.EqualValues(t, 8, inside.Load())
		require.Less(t, memory()-before, uint64(160<<20))
		for _, name := range []string{"/checkpoint", "/tile/0/000"} {
			require.Equal(t, http.StatusOK, get(t, handler, http.MethodGet, name).Code, name)
		}
		time.Sleep(29 * time.Second)
		synctest.Wait()
		require.Empty(t, answers)
		time.Sleep(time.Second)
		synctest.Wait()
		said := map[int]int{}
		for range len(answers) {
			said[<-answers]++
		}
		require.Equal(t, 8, said[http.StatusOK])
		time.Sleep(31 * time.Second)
		synctest.Wait()
		for range len(answers) {
			said[<-answers]++
		}
		require.Equal(t, 40, said[http.StatusOK]+said[http.StatusServiceUnavailable])
		require.Zero(t, inside.Load())
		require.Equal(t, http.StatusOK, get(t, handler, http.MethodGet, "/tile/entries/000").Code, "there is room again")
	})
}

// Bundles that are small take as much room as they have, and no more.
func TestManySmallBundlesAreAnsweredAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		files, _ := newLog(t, 256)
		handler := tilehttp.Handler(files)
		var inside atomic.Int64
		var all sync.WaitGroup
		for range 200 {
			all.Go(func() {
				w := &stuck{ResponseRecorder: *httptest.NewRecorder(), inside: &inside}
				handler.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/tile/entries/000", http.NoBody))
			})
		}
		synctest.Wait()
		require.EqualValues(t, 200, inside.Load())
		all.Wait()
	})
}

// A server with a limit of its own keeps it.
func TestAServersOwnLimitStands(t *testing.T) {
	files, _ := newLog(t, 256)
	for limit, want := range map[time.Duration]bool{0: true, time.Minute: false} {
		w := &deadlines{ResponseRecorder: httptest.NewRecorder()}
		ctx := context.WithValue(t.Context(), http.ServerContextKey, &http.Server{WriteTimeout: limit})
		tilehttp.Handler(files).ServeHTTP(w, httptest.NewRequestWithContext(ctx, http.MethodGet, "/tile/entries/000", http.NoBody))
		require.Equal(t, files["tile/entries/000"], w.Body.Bytes())
		require.Equal(t, want, w.set, limit)
	}
}

// deadlines remembers whether it was given one.
type deadlines struct {
	*httptest.ResponseRecorder
	set bool
}

func (d *deadlines) SetWriteDeadline(time.Time) error {
	d.set = true
	return nil
}
