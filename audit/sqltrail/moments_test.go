package sqltrail_test

import (
	"context"
	"path/filepath"
	"sync"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/mod/sumdb/note"

	"github.com/crmguard/crmguard/audit"
	"github.com/crmguard/crmguard/audit/tilesink"
	"github.com/crmguard/crmguard/internal/sqldb"
	"github.com/crmguard/crmguard/internal/testdb"
)

// moments are those of a process: before each call to the database, to the keys and
// the signer, to what is kept, and before and after each call to a folder. At one of them it stands
// still, as stand does.
type moments struct {
	mu    sync.Mutex
	n, at int // 0: not counted; and where to stand, -1 nowhere
	names []string
	first string // the name of a moment: at the first of it
	stand func(what string, inTx bool)
}

// arm has the process stand at the n-th moment from now; n = -1 counts alone.
func (m *moments) arm(n int, stand func(what string, inTx bool)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.n, m.at, m.names, m.first, m.stand = 0, n, nil, "", stand
}

// armFirst has the process stand at the first moment of that name.
func (m *moments) armFirst(name string, stand func(what string, inTx bool)) {
	m.arm(-1, stand)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.first = name
}

// disarm says which moments there were.
func (m *moments) disarm() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.at = 0
	return m.names
}

func (m *moments) pass(what string, inTx bool) {
	m.mu.Lock()
	here, stand := false, m.stand
	if m.at != 0 {
		m.n, m.names = m.n+1, append(m.names, what)
		if here = m.n == m.at || m.first == what; here {
			m.first = ""
		}
	}
	m.mu.Unlock()
	if here {
		stand(what, inTx)
	}
}

// watched is a change of a configuration: everything that a pass of the sequencer
// calls is a moment, a mirror and a copy among it.
func watched(m *moments) func(w *works) {
	return func(w *works) {
		var err error
		w.db, err = sqldb.Open(w.t.Context(), testdb.Watching(w.t, w.Driver, w.DSN, func(inTx bool) { m.pass("database", inTx) }))
		require.NoError(w.t, err)
		withMirror(w)
		w.config.Sink = &momentSink{w.log, "sink", m}
		w.config.Mirror = &momentSink{w.config.Mirror.(*tilesink.Dir), "mirror", m}
		w.config.Copies[0] = &momentSink{w.config.Copies[0].(*tilesink.Dir), "copy", m}
		w.config.Keys = &momentKeys{w.config.Keys, m}
		signer, err := note.NewSigner(w.Key)
		require.NoError(w.t, err)
		w.config.Key, w.config.Signer, w.config.Verifier = "", &momentSigner{signer, m}, w.Verifier
	}
}

// withMirror has the process fill a mirror and a copy, compare a kept checkpoint, and
// drop the tags of retries at once, so that a pass does all that one may do.
func withMirror(w *works) {
	for _, name := range []string{"mirror", "copy"} {
		dir, err := tilesink.Open(filepath.Join(w.dir, name))
		require.NoError(w.t, err)
		if name == "mirror" {
			w.config.Mirror = dir
		} else {
			w.config.Copies = []audit.Sink{dir}
		}
	}
	w.config.RetryFor, w.config.BeatEvery = time.Microsecond, time.Millisecond
}

type momentKeys struct {
	audit.Keys
	m *moments
}

func (k *momentKeys) MACKeys(ctx context.Context, tenant string, info []byte) ([]uint32, [][]byte, error) {
	k.m.pass("keys: mac", false)
	return k.Keys.MACKeys(ctx, tenant, info)
}

func (k *momentKeys) Tag(ctx context.Context, tenant string, data []byte) ([]byte, error) {
	k.m.pass("keys: tag", false)
	return k.Keys.Tag(ctx, tenant, data)
}

func (k *momentKeys) Verify(ctx context.Context, tenant string, data, tag []byte) error {
	k.m.pass("keys: verify", false)
	return k.Keys.Verify(ctx, tenant, data, tag)
}

type momentSigner struct {
	note.Signer
	m *moments
}

func (s *momentSigner) Sign(msg []byte) ([]byte, error) {
	s.m.pass("sign", false)
	return s.Signer.Sign(msg)
}

// momentSink is a folder around each call of which there are two moments.
type momentSink struct {
	*tilesink.Dir
	name string
	m    *moments
}

func (s *momentSink) around(op, name string) func() {
	s.m.pass(s.name+": before "+op+" "+name, false)
	return func() { s.m.pass(s.name+": after "+op+" "+name, false) }
}

func (s *momentSink) ReadFile(ctx context.Context, name string) ([]byte, error) {
	defer s.around("read", name)()
	return s.Dir.ReadFile(ctx, name)
}

func (s *momentSink) WriteFile(ctx context.Context, name string, data []byte) error {
	defer s.around("write", name)()
	return s.Dir.WriteFile(ctx, name, data)
}

func (s *momentSink) SwapFile(ctx context.Context, name string, old, data []byte) error {
	defer s.around("swap", name)()
	return s.Dir.SwapFile(ctx, name, old, data)
}

func (s *momentSink) RemoveAll(ctx context.Context, name string) error {
	defer s.around("remove", name)()
	return s.Dir.RemoveAll(ctx, name)
}
