package encryption_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/tink-crypto/tink-go/v2/tink"
	"pgregory.net/rapid"

	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/encryption/encryptiontest"
	"github.com/crmguard/crmguard/encryption/keystore"
)

// step is one thing that a process of the model does.
type step struct {
	Pause  time.Duration // before it
	Kind   string
	Person int
	Lease  time.Duration
	Killed time.Duration // how long it may take; 0 is as long as it wants
}

// script is what one process does.
type script struct {
	Skew  time.Duration // of its clocks
	Seed  uint64        // of what delays it
	Steps []step
}

var modelPersons = []string{"p0", "p1", "p2", "p3"}

func scripts(rt *rapid.T) []script {
	pause := rapid.SampledFrom([]time.Duration{0, 0, time.Millisecond, 300 * time.Millisecond, time.Second, 2 * time.Second, 4999 * time.Millisecond, 7 * time.Second, 25 * time.Second})
	one := rapid.Custom(func(rt *rapid.T) step {
		return step{
			Pause:  pause.Draw(rt, "pause"),
			Kind:   rapid.SampledFrom([]string{"take", "take", "use", "use", "use", "seal", "erase", "erase many", "lease", "lease", "new key version", "open anew"}).Draw(rt, "kind"),
			Person: rapid.IntRange(0, len(modelPersons)-1).Draw(rt, "person"),
			Lease:  rapid.SampledFrom([]time.Duration{time.Millisecond, time.Second, 5 * time.Second, 20 * time.Second, 60 * time.Second}).Draw(rt, "lease"),
			Killed: rapid.SampledFrom([]time.Duration{0, 0, 0, time.Nanosecond, time.Second, 6 * time.Second}).Draw(rt, "killed"),
		}
	})
	return rapid.SliceOfN(rapid.Custom(func(rt *rapid.T) script {
		return script{
			Skew:  rapid.SampledFrom([]time.Duration{0, time.Hour, -time.Hour, 10 * 365 * 24 * time.Hour, -10 * 365 * 24 * time.Hour}).Draw(rt, "skew"),
			Seed:  rapid.Uint64().Draw(rt, "seed"),
			Steps: rapid.SliceOfN(one, 4, 14).Draw(rt, "steps"),
		}
	}), 2, 4).Draw(rt, "processes")
}

// model is the world that the processes share, in the time of a bubble.
type model struct {
	store *encryptiontest.Memory
	kms   *keks
	cells map[string][]byte

	mu     sync.Mutex
	gone   map[string]bool // whose erasure has returned
	wrong  []string
	counts map[string]int
}

func (m *model) count(what string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.counts[what]++
}

func (m *model) complain(format string, args ...any) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.wrong = append(m.wrong, fmt.Sprintf(format, args...))
}

// used is told of each seal and each opening when it has returned.
func (m *model) used(what string, process int, person string, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case err == nil && m.gone[person]:
		m.wrong = append(m.wrong, fmt.Sprintf("process %d: %s for %s after its erasure had returned", process, what, person))
	case err == nil:
		m.counts[what]++
	case !errors.Is(err, encryption.ErrErased) && !errors.Is(err, encryption.ErrLease) && !errors.Is(err, encryption.ErrKEK) && !errors.Is(err, context.DeadlineExceeded):
		m.wrong = append(m.wrong, fmt.Sprintf("process %d: %s: %v", process, what, err))
	}
}

// delayed is a key store behind a network, and a process that a machine puts to
// sleep in the middle of a question: both before it is asked and after.
type delayed struct {
	keystore.Store
	p *process
}

func (d delayed) State(ctx context.Context) (state keystore.State, err error) {
	err = d.p.delayed(ctx, func() (err error) { state, err = d.Store.State(ctx); return err })
	return state, err
}

func (d delayed) Tenant(ctx context.Context, tenant string) (rows keystore.Rows, err error) {
	err = d.p.delayed(ctx, func() (err error) { rows, err = d.Store.Tenant(ctx, tenant); return err })
	return rows, err
}

func (d delayed) Owners(ctx context.Context, tenant string, owners []string) (rows keystore.Rows, err error) {
	err = d.p.delayed(ctx, func() (err error) { rows, err = d.Store.Owners(ctx, tenant, owners); return err })
	return rows, err
}

func (d delayed) Create(ctx context.Context, f func(keystore.Tx) error) error {
	return d.p.delayed(ctx, func() error { return d.Store.Create(ctx, f) })
}

func (d delayed) Update(ctx context.Context, f func(keystore.Tx) error) (state keystore.State, err error) {
	err = d.p.delayed(ctx, func() (err error) { state, err = d.Store.Update(ctx, f); return err })
	return state, err
}

func (d delayed) Snapshot(ctx context.Context, f func(keystore.Tx) error) error {
	return d.p.delayed(ctx, func() error { return d.Store.Snapshot(ctx, f) })
}

// process is one of the model.
type process struct {
	m      *model
	id     int
	script script
	mu     sync.Mutex
	random *rand.Rand
	slept  time.Duration // how long its monotonic clock stood still
	quiet  bool          // nothing delays it any more

	vault    *encryption.Vault
	contacts *encryption.SealedTable
	writers  map[string]*encryption.Writer
	readers  map[string]*encryption.Reader
}

func (p *process) now() time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return lagging(time.Now().Add(p.script.Skew), p.slept)
}

// hindrance draws how long something takes, and whether the machine sleeps
// meanwhile.
func (p *process) hindrance() (long time.Duration, sleeps bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.quiet || p.random.IntN(4) != 0 {
		return 0, false
	}
	most := []time.Duration{20 * time.Millisecond, 2 * time.Second, 12 * time.Second}[p.random.IntN(3)]
	return time.Duration(p.random.Int64N(int64(most))), p.random.IntN(2) == 0
}

func (p *process) delayed(ctx context.Context, f func() error) error {
	if err := p.delay(ctx); err != nil {
		return err // it never came there
	}
	err := f()
	if lost := p.delay(ctx); err == nil {
		return lost // it was done, and nobody hears of it
	}
	return err
}

func (p *process) delay(ctx context.Context) error {
	long, sleeps := p.hindrance()
	if long == 0 {
		return ctx.Err()
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(long):
	}
	if sleeps { // its monotonic clock stood still
		p.mu.Lock()
		p.slept += long
		p.mu.Unlock()
	}
	return nil
}

func (p *process) open(ctx context.Context) error {
	cfg := encryption.Config{Keys: delayed{p.m.store, p}, Now: p.now, KEKTimeout: time.Hour, KEK: func(ctx context.Context, tenant, name string) (tink.AEADWithContext, error) {
		if err := p.delay(ctx); err != nil {
			return nil, err
		}
		return p.m.kms.get(ctx, tenant, name)
	}}
	vault, err := encryption.Open(ctx, cfg)
	if err != nil {
		return err
	}
	p.writers, p.readers = map[string]*encryption.Writer{}, map[string]*encryption.Reader{}
	p.vault = vault
	p.contacts, err = vault.Table(contactsTable)
	return err
}

func (p *process) run(ctx context.Context) {
	p.random = rand.New(rand.NewPCG(p.script.Seed, 1))
	if err := p.open(ctx); err != nil {
		p.m.complain("open: %v", err)
		return
	}
	for _, s := range p.script.Steps {
		time.Sleep(s.Pause)
		p.step(ctx, s)
	}
}

func (p *process) step(ctx context.Context, s step) {
	if s.Killed > 0 {
		short, cancel := context.WithTimeout(ctx, s.Killed)
		defer cancel()
		ctx = short
	}
	person := modelPersons[s.Person]
	others := []string{person, modelPersons[(s.Person+1)%len(modelPersons)]}
	var err error
	switch s.Kind {
	case "take":
		var w *encryption.Writer
		if w, err = p.contacts.Writer(ctx, tenant, person); err == nil {
			p.writers[person] = w
		}
		r, readerErr := p.contacts.Reader(ctx, tenant, modelPersons...)
		if readerErr == nil {
			for _, of := range modelPersons {
				p.readers[of] = r
			}
		}
		err = errors.Join(err, readerErr)
	case "use":
		for of, w := range p.writers {
			_, err := w.Seal("email", []byte("x"))
			p.m.used("a Writer sealed", p.id, of, err)
		}
		if r := p.readers[person]; r != nil {
			_, err := r.Row(person, "").Open(ctx, "email", p.m.cells[person])
			p.m.used("a Reader opened", p.id, person, err)
		}
	case "seal":
		sealed, err := p.vault.PersonSealer("model").Seal(ctx, tenant, person, []byte("x"), nil)
		p.m.used("a PersonSealer sealed", p.id, person, err)
		if err == nil {
			_, err = p.vault.PersonSealer("model").Open(ctx, tenant, person, sealed, nil)
			p.m.used("a PersonSealer opened", p.id, person, err)
		}
		return
	case "erase":
		if _, err = p.vault.Erase(ctx, tenant, person); err == nil {
			p.erased(person)
		}
	case "erase many":
		if _, err = p.vault.EraseMany(ctx, tenant, others...); err == nil {
			p.erased(others...)
		}
	case "lease":
		if err = p.vault.ChangeLease(ctx, s.Lease); err == nil {
			p.m.count("leases changed")
		}
	case "new key version":
		_, err = p.vault.NewKeyVersion(ctx, tenant)
	case "open anew":
		err = p.open(ctx)
	}
	if err != nil && !errors.Is(err, encryption.ErrErased) && !errors.Is(err, encryption.ErrLease) && !errors.Is(err, encryption.ErrKEK) && !errors.Is(err, context.DeadlineExceeded) {
		p.m.complain("process %d: %s: %v", p.id, s.Kind, err)
	}
}

func (p *process) erased(persons ...string) {
	p.m.mu.Lock()
	defer p.m.mu.Unlock()
	for _, person := range persons {
		p.m.gone[person] = true
		p.m.counts["erasures"]++
	}
}

// play lets the processes run, and judges what each of them has then.
func play(t *testing.T, all []script) *model {
	t.Helper()
	m := &model{store: encryptiontest.Keys(), kms: &keks{keys: map[string][]byte{}, gone: map[string]bool{}}, cells: map[string][]byte{}, gone: map[string]bool{}, counts: map[string]int{}}
	synctest.Test(t, func(t *testing.T) {
		first, err := encryption.Create(t.Context(), encryption.Config{Keys: m.store, KEK: m.kms.get})
		require.NoError(t, err)
		require.NoError(t, first.AddTenant(t.Context(), tenant))
		contacts, err := first.Table(contactsTable)
		require.NoError(t, err)
		for _, person := range modelPersons {
			w, err := contacts.Writer(t.Context(), tenant, person)
			require.NoError(t, err)
			m.cells[person], err = w.Seal("email", []byte("x"))
			require.NoError(t, err)
		}
		processes := make([]*process, len(all))
		var wg sync.WaitGroup
		for i, script := range all {
			processes[i] = &process{m: m, id: i, script: script}
			wg.Go(func() { processes[i].run(t.Context()) })
		}
		wg.Wait()
		for _, p := range processes {
			p.mu.Lock()
			p.quiet = true
			p.mu.Unlock()
			p.lives(t.Context())
		}
		time.Sleep(2 * time.Hour) // calls of a KEK that nobody waits for end, too
	})
	return m
}

// lives checks at the end that who was not erased opens, in a process that has
// seen everything, and that who was erased does not.
func (p *process) lives(ctx context.Context) {
	state, err := p.m.store.State(ctx)
	if err != nil || p.vault == nil {
		p.m.complain("process %d did not come to its end: %v", p.id, err)
		return
	}
	time.Sleep(state.LeaseWait)
	rows, err := p.m.store.Owners(ctx, tenant, modelPersons)
	if err != nil {
		p.m.complain("read: %v", err)
	}
	r, err := p.contacts.Reader(ctx, tenant, modelPersons...)
	if err != nil {
		p.m.complain("process %d at its end: %v", p.id, err)
		return
	}
	for _, row := range rows.Owners {
		_, err := r.Row(row.Owner, "").Open(ctx, "email", p.m.cells[row.Owner])
		if row.State == keystore.Live && err != nil {
			p.m.complain("process %d does not open what nobody erased: %v", p.id, err)
		}
		if row.State == keystore.Tombstone && !errors.Is(err, encryption.ErrErased) {
			p.m.complain("process %d at its end, of one who was erased: %v", p.id, err)
		}
	}
}

// Whatever several processes do at once, wherever they are killed, however
// their clocks are set, while leases change, the network hangs and machines
// sleep: once an erasure has returned, none of them seals or opens for the
// person.
func TestNoProcessSealsOrOpensAfterAnErasureReturned(t *testing.T) {
	sum := map[string]int{}
	for range 5 { // of a hundred plays each
		rapid.Check(t, func(rt *rapid.T) {
			m := play(t, scripts(rt))
			for _, wrong := range m.wrong {
				rt.Error(wrong)
			}
			for what, n := range m.counts {
				sum[what] += n
			}
		})
	}
	for _, what := range []string{"erasures", "leases changed", "a Writer sealed", "a Reader opened", "a PersonSealer sealed", "a PersonSealer opened"} {
		require.NotZero(t, sum[what], "%s: a model in which it never happens proves nothing", what)
	}
}
