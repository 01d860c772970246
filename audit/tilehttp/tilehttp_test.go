package tilehttp_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/audit/internal/c2sp"
	"github.com/crmguard/crmguard/audit/tilehttp"
)

// get asks a handler without a network.
func get(t *testing.T, handler http.Handler, method, path string, header ...string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), method, path, http.NoBody)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, r)
	return w
}

// Every file of a log is answered byte for byte, says what it is and how long
// it may be kept, and is not sent to who has it.
func TestEveryFileOfALogIsServed(t *testing.T) {
	for _, size := range []int64{1, 255, 256, 70000} {
		files, _ := newLog(t, size)
		handler := tilehttp.Handler(files)
		for name, data := range files {
			w := get(t, handler, http.MethodGet, "/"+name)
			require.Equal(t, http.StatusOK, w.Code, name)
			require.Equal(t, data, w.Body.Bytes(), name)
			kind, keep := "application/octet-stream", "private, max-age=31536000, immutable"
			switch {
			case name == "checkpoint":
				kind, keep = "text/plain; charset=utf-8", "private, no-cache"
			case strings.Contains(name, ".p/"):
				keep = "private, max-age=60"
			}
			require.Equal(t, kind, w.Header().Get("Content-Type"), name)
			require.Equal(t, keep, w.Header().Get("Cache-Control"), name)
			require.Equal(t, "nosniff", w.Header().Get("X-Content-Type-Options"), name)
			require.Empty(t, w.Header().Get("Content-Encoding"), name)
			require.Empty(t, w.Header().Get("Last-Modified"), name)

			tag := w.Header().Get("ETag")
			again := get(t, handler, http.MethodGet, "/"+name, "If-None-Match", tag)
			require.Equal(t, http.StatusNotModified, again.Code, name)
			require.Empty(t, again.Body.Bytes(), name)
			require.Equal(t, http.StatusOK, get(t, handler, http.MethodGet, "/"+name, "If-None-Match", `"x"`).Code, name)

			head := get(t, handler, http.MethodHead, "/"+name)
			require.Equal(t, http.StatusOK, head.Code, name)
			require.Empty(t, head.Body.Bytes(), name)
			require.Equal(t, fmt.Sprint(len(data)), head.Header().Get("Content-Length"), name)
			require.Equal(t, tag, head.Header().Get("ETag"), name)
		}
	}
}

// The checkpoint that comes after another one is another to a cache, too.
func TestANewCheckpointIsSentToWhoHasTheOldOne(t *testing.T) {
	files, _ := newLog(t, 3)
	handler := tilehttp.Handler(files)
	tag := get(t, handler, http.MethodGet, "/checkpoint").Header().Get("ETag")
	require.NotEmpty(t, tag)
	next, _ := newLog(t, 4)
	files["checkpoint"] = next["checkpoint"]
	w := get(t, handler, http.MethodGet, "/checkpoint", "If-None-Match", tag)
	require.Equal(t, http.StatusOK, w.Code)
	require.Equal(t, next["checkpoint"], w.Body.Bytes())
}

// Whatever stands in a request's line, the source is asked for names of the log
// and for nothing else, and what is no name is not there.
func TestNothingButTheLogIsReachable(t *testing.T) {
	var names []string
	server := httptest.NewServer(tilehttp.Handler(asked(func(_ context.Context, name string) ([]byte, error) {
		names = append(names, name)
		return nil, fs.ErrNotExist
	})))
	defer server.Close()
	for _, target := range []string{
		"/", "/.", "/..", "/../checkpoint", "//checkpoint", "/./checkpoint", "/checkpoint/", "/checkpoint/..", "/Checkpoint", "/checkpoint%00", "/checkpoin%74", "/%2e%2e/checkpoint",
		"/checkpoint.", "/checkpoint%20", "/checkpoint;x", `/\checkpoint`, "/.lock", "/.tmp-1", "/.git/config", "/openings/x000/123", "/people/000", "/state", "/etc/passwd", "/tile",
		"/tile/", "/tile/0", "/tile/0/..%2f000", "/tile/0/..%5c000", "/tile%2f0%2f000", "/tile/0/%30%30%30", "/tile/0/000/../../../etc/passwd", "/tile/0/000%00.p/1", "/tile/0/000.p/256",
		"/tile/0/000.p/1/", "/tile/data/000", "/tile/8/0/000", "/tile/64/000", "/tile/-1/000", "/tile/entries/../0/000", "/tile/0/.tmp-000", "/tile/0/x000/000", "/tile/0/" + strings.Repeat("x001/", 5000) + "000",
		"http://elsewhere.example//checkpoint", "http://elsewhere.example/tile/0/1",
	} {
		require.Equal(t, http.StatusNotFound, raw(t, server, http.MethodGet, target), target)
	}
	require.Empty(t, names)
	for _, target := range []string{"/checkpoint", "/checkpoint?x=../state", "/tile/0/000", "http://elsewhere.example/tile/entries/000.p/1"} {
		require.Equal(t, http.StatusNotFound, raw(t, server, http.MethodGet, target), target)
	}
	require.Equal(t, []string{"checkpoint", "checkpoint", "tile/0/000", "tile/entries/000.p/1"}, names)
}

// raw sends a line as it is: a client of package http would clean it first.
func raw(t *testing.T, server *httptest.Server, method, target string) int {
	t.Helper()
	conn, err := net.Dial("tcp", server.Listener.Addr().String())
	require.NoError(t, err)
	defer conn.Close()
	_, err = fmt.Fprintf(conn, "%s %s HTTP/1.1\r\nHost: log.example\r\nConnection: close\r\n\r\n", method, target)
	require.NoError(t, err)
	r, err := http.ReadResponse(bufio.NewReader(conn), nil)
	require.NoError(t, err)
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	require.NoError(t, err)
	require.Equal(t, http.StatusText(r.StatusCode)+"\n", string(body), "and no more than that")
	require.Equal(t, "no-store", r.Header.Get("Cache-Control"))
	return r.StatusCode
}

func TestALogIsOnlyRead(t *testing.T) {
	files, _ := newLog(t, 3)
	handler := tilehttp.Handler(files)
	for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions, http.MethodTrace, http.MethodConnect, "PROPFIND", "get"} {
		w := get(t, handler, method, "/checkpoint")
		require.Equal(t, http.StatusMethodNotAllowed, w.Code, method)
		require.Equal(t, "GET, HEAD", w.Header().Get("Allow"), method)
		require.Equal(t, "Method Not Allowed\n", w.Body.String(), method)
	}
}

// What stands under a name without being such a file is not given out: a store
// may hold anything.
func TestWhatIsNoFileOfALogIsNotServed(t *testing.T) {
	files, _ := newLog(t, 300)
	refused := func(name, what string, instead []byte) {
		w := get(t, tilehttp.Handler(published{name: instead}), http.MethodGet, "/"+name)
		require.Equal(t, http.StatusInternalServerError, w.Code, "%s: %s", name, what)
		require.Equal(t, "Internal Server Error\n", w.Body.String(), "%s: %s", name, what)
		require.Equal(t, "no-store", w.Header().Get("Cache-Control"))
		require.Empty(t, w.Header().Get("ETag"))
	}
	secret := "-----BEGIN PRIVATE KEY-----\n"
	for name, data := range files {
		data := string(data)
		for what, instead := range map[string]string{
			"nothing": "", "something else": secret, "too short": data[:len(data)-1], "too long": data + "x", "twice": data + data,
			"with something before it": secret + data, "very long": data + strings.Repeat("x", 1<<20),
		} {
			refused(name, what, []byte(instead))
		}
	}
	text, signature, _ := strings.Cut(string(files["checkpoint"]), "\n\n")
	refused("checkpoint", "without a signature", []byte(text+"\n"))
	refused("checkpoint", "signed, and no checkpoint", []byte(secret+"\n"+signature))
	refused("checkpoint", "longer than any", []byte(text+"\n"+strings.Repeat("x\n", 1<<15)+"\n"+signature))
	refused("checkpoint", "signed without end", []byte(text+"\n\n"+strings.Repeat(signature, 1000)))
}

// Errors may quote anything: a client sees what the code means.
func TestErrorsOfTheSourceAreNotTold(t *testing.T) {
	for err, code := range map[error]int{
		errors.New("dial tcp 10.1.2.3:5432: password of crm_audit"): http.StatusInternalServerError,
		fmt.Errorf("no file /srv/audit: %w", fs.ErrNotExist):        http.StatusNotFound,
		fmt.Errorf("/srv/audit: %w", fs.ErrPermission):              http.StatusInternalServerError,
		fmt.Errorf("busy: %w", context.DeadlineExceeded):            http.StatusServiceUnavailable,
		fmt.Errorf("closed: %w", context.Canceled):                  http.StatusServiceUnavailable,
	} {
		handler := tilehttp.Handler(asked(func(context.Context, string) ([]byte, error) { return []byte("half of it"), err }))
		for _, path := range []string{"/checkpoint", "/tile/0/000", "/tile/entries/000.p/1"} {
			w := get(t, handler, http.MethodGet, path)
			require.Equal(t, code, w.Code, "%v", err)
			require.Equal(t, http.StatusText(code)+"\n", w.Body.String())
		}
	}
	require.Equal(t, http.StatusInternalServerError, get(t, tilehttp.Handler(nil), http.MethodGet, "/checkpoint").Code)
}

// A source that hangs holds a request up for half a minute, and no longer than
// its client waits.
func TestASourceThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		handler := tilehttp.Handler(asked(func(ctx context.Context, _ string) ([]byte, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}))
		begun := time.Now()
		w := get(t, handler, http.MethodGet, "/checkpoint")
		require.Equal(t, http.StatusServiceUnavailable, w.Code)
		require.NotEmpty(t, w.Header().Get("Retry-After"))
		require.Equal(t, 30*time.Second, time.Since(begun), "of the time in the bubble, which is exact")

		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		begun = time.Now()
		w = httptest.NewRecorder()
		handler.ServeHTTP(w, httptest.NewRequestWithContext(ctx, http.MethodGet, "/checkpoint", http.NoBody))
		require.Equal(t, http.StatusServiceUnavailable, w.Code)
		require.Equal(t, time.Second, time.Since(begun))
	})
}

// However many ask, the source is read four times at once. One that does not
// come back at all keeps those four, and the others are told to come again.
func TestTheSourceIsAskedFewTimesAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		files, _ := newLog(t, 3)
		var inside atomic.Int64
		goOn := make(chan struct{})
		handler := tilehttp.Handler(asked(func(ctx context.Context, name string) ([]byte, error) {
			inside.Add(1)
			<-goOn // whatever becomes of ctx
			return files.Published(ctx, name)
		}))
		answers := make(chan int, 100)
		for range cap(answers) {
			go func() { answers <- get(t, handler, http.MethodGet, "/checkpoint").Code }()
		}
		synctest.Wait()
		require.EqualValues(t, 4, inside.Load())
		for range cap(answers) - 4 {
			require.Equal(t, http.StatusServiceUnavailable, <-answers)
		}
		require.EqualValues(t, 4, inside.Load(), "those that waited asked nothing")
		close(goOn)
		for range 4 {
			require.Equal(t, http.StatusOK, <-answers)
		}
		require.Equal(t, http.StatusOK, get(t, handler, http.MethodGet, "/checkpoint").Code, "and their places are free again")
	})
}

// A source that panics takes its place along, and no other's.
func TestASourceThatPanicsGivesItsPlaceBack(t *testing.T) {
	files, _ := newLog(t, 3)
	broken := true
	handler := tilehttp.Handler(asked(func(ctx context.Context, name string) ([]byte, error) {
		if broken {
			panic("the source's own")
		}
		return files.Published(ctx, name)
	}))
	for range 20 {
		require.PanicsWithValue(t, "the source's own", func() { get(t, handler, http.MethodGet, "/checkpoint") })
	}
	broken = false
	require.Equal(t, http.StatusOK, get(t, handler, http.MethodGet, "/checkpoint").Code)
}

// Whoever has gone is asked nothing for.
func TestARequestThatIsOverAsksNothing(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	w := httptest.NewRecorder()
	tilehttp.Handler(asked(func(context.Context, string) ([]byte, error) {
		t.Error("the source was asked")
		return nil, nil
	})).ServeHTTP(w, httptest.NewRequestWithContext(ctx, http.MethodGet, "/checkpoint", http.NoBody))
	require.Equal(t, http.StatusServiceUnavailable, w.Code)
}

func FuzzHandler(f *testing.F) {
	for _, path := range []string{"/checkpoint", "/tile/0/000", "/tile/entries/x001/234.p/5", "/../checkpoint", "/tile/0/..%2f000", "//tile/0/000"} {
		f.Add(http.MethodGet, path, "bytes=0-1")
	}
	f.Fuzz(func(t *testing.T, method, path, ranges string) {
		r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(method + " " + path + " HTTP/1.1\r\nHost: x\r\n\r\n")))
		if err != nil {
			return
		}
		r.Header.Set("Range", ranges)
		var names []string
		w := httptest.NewRecorder()
		tilehttp.Handler(asked(func(_ context.Context, name string) ([]byte, error) {
			names = append(names, name)
			return make([]byte, 8192), nil
		})).ServeHTTP(w, r)
		for _, name := range names {
			_, ok := c2sp.ParseTilePath(name)
			require.True(t, ok || name == "checkpoint", "%q", name)
			require.True(t, strings.HasSuffix(r.URL.Path, name), "%q for %q", name, r.URL.Path)
		}
		require.LessOrEqual(t, len(names), 1)
		if w.Code == http.StatusOK {
			require.NotEmpty(t, names)
		}
	})
}
