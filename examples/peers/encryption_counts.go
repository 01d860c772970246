package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tink-crypto/tink-go/v2/tink"

	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/encryption/keycopy"
	"github.com/crmguard/crmguard/encryption/sqlkeys"
)

// nobody contends where something is counted.
func nobody(context.Context, *bench) ([]contest, error) { return nil, nil }

func encryptionCounts(ctx context.Context, p *bench) ([]count, error) {
	counts := []count{
		{
			Package: "encryption", What: "calls of a KMS by a process that has just begun, 100 tenants",
			Note: "The KEK counts how often it is asked to wrap or unwrap. Each figure is of a vault that was opened for it. One key a tenant stands under the KEK, and one of the installation, by which a key copy is authenticated: it is wrapped neither by a tenant's key nor wraps one, since each may have a KMS of its own.",
			Take: func() ([]taken, error) { return kmsCalls(ctx, p) },
		},
		{
			Package: "encryption", What: "memory of 100,000 cached persons with 10 key versions",
			Note: "The heap after a collection, before and after one process has read all of them. Raw keys stay in memory, a cipher is built when it is first used: the second figure is with one value opened for each person.",
			Take: func() ([]taken, error) { return cachedPersons(ctx, p) },
		},
		{
			Package: "encryption", What: "a tenant while the KMS of another one hangs",
			Note: "A process that has just begun reads the key of one person after the other of one tenant from SQLite, while eight callers ask it for what is another tenant's: they are answered, or wait for a KEK that does not answer. 20 processes of each kind, in turn, 500 persons each.",
			Take: func() ([]taken, error) { return hungTenant(ctx, p) },
		},
	}
	if s, err := p.postgres(); err == nil {
		counts = append(counts, count{
			Package: "encryption", What: "keys of new persons, 16 writers, PostgreSQL",
			Note: onPostgres + "16 processes' worth of vaults and connections over one key store, one person a transaction.",
			Take: func() ([]taken, error) { return newPersons(ctx, p) },
		})
		if s.explains() {
			counts = append(counts, count{
				Package: "encryption", What: "plans of the pages of a table of 1,000,000 rows, PostgreSQL",
				Note: onPostgres + "The key is text in no order. The server explains each statement when it carries it out (auto_explain), and the pages that two jobs read are counted. A question that must sort is asked first, to see that it is found.",
				Take: func() ([]taken, error) { return pagePlans(ctx, p) },
			})
		}
	} else if !errors.Is(err, errNoServer) {
		return nil, err
	}
	return counts, nil
}

// countingKEK counts what a KMS would be asked.
type countingKEK struct {
	*kek
	calls *atomic.Int64
}

func (k countingKEK) EncryptWithContext(ctx context.Context, plaintext, ad []byte) ([]byte, error) {
	k.calls.Add(1)
	return k.kek.EncryptWithContext(ctx, plaintext, ad)
}

func (k countingKEK) DecryptWithContext(ctx context.Context, ciphertext, ad []byte) ([]byte, error) {
	k.calls.Add(1)
	return k.kek.DecryptWithContext(ctx, ciphertext, ad)
}

func kmsCalls(ctx context.Context, p *bench) ([]taken, error) {
	tenants := 100
	if p.small {
		tenants = 3
	}
	vault, store, key, err := openVault(ctx, p)
	if err != nil {
		return nil, err
	}
	for i := 1; i < tenants; i++ { // one is there
		name := fmt.Sprint("tenant-", i)
		if err := errors.Join(vault.AddTenant(ctx, name), vault.Ensure(ctx, name, person)); err != nil {
			return nil, err
		}
	}
	var calls atomic.Int64
	process := func() (*encryption.Vault, error) {
		calls.Store(0)
		return encryption.Open(ctx, encryption.Config{
			Keys: store, KEK: func(context.Context, string, string) (tink.AEADWithContext, error) {
				return countingKEK{key, &calls}, nil
			},
			Wait: func(ctx context.Context, _ time.Duration) error { return ctx.Err() }, // nobody else is there to wait for
		})
	}
	one, err := p.folder("copies")
	if err != nil {
		return nil, err
	}
	two, err := p.folder("copies")
	if err != nil {
		return nil, err
	}
	first, err := process()
	if err != nil {
		return nil, err
	}
	if _, err := first.WriteCopy(ctx, one); err != nil {
		return nil, err
	}
	copied := calls.Load()
	second, err := process()
	if err != nil {
		return nil, err
	}
	if _, err := second.RewrapKeys(ctx, keycopy.Rewrap{KEK: "kek-2", Copy: second.Copier(two)}); err != nil {
		return nil, err
	}
	return []taken{
		{"a key copy", float64(copied), "calls", "<= 100 calls"},
		{"an epoch: new wrap keys, two key copies, another KEK", float64(calls.Load()), "calls", "<= 300 calls"},
	}, nil
}

// cachedPersons weighs what a process has in memory.
func cachedPersons(ctx context.Context, p *bench) ([]taken, error) {
	persons := 100_000
	if p.small {
		persons = 50
	}
	vault, store, key, err := openVault(ctx, p)
	if err != nil {
		return nil, err
	}
	ids := make([]string, persons)
	for i := range ids {
		ids[i] = personID(i)
	}
	for version := range keyVersions {
		if version > 0 {
			if _, err := vault.NewKeyVersion(ctx, tenant); err != nil {
				return nil, err
			}
		}
		for chunk := range slices.Chunk(ids, 4000) {
			if err := vault.Ensure(ctx, tenant, chunk...); err != nil {
				return nil, err
			}
		}
	}
	vault = nil // what it has in memory is not to be weighed
	before, small := heap(), resident()
	process, err := encryption.Open(ctx, encryption.Config{Keys: store, KEK: func(context.Context, string, string) (tink.AEADWithContext, error) { return key, nil }})
	if err != nil {
		return nil, err
	}
	table, err := process.Table(encryption.Table{Name: "contacts", Columns: columnsOf([]string{"email"})})
	if err != nil {
		return nil, err
	}
	each := func(f func(id string) error) error {
		for chunk := range slices.Chunk(ids, 4000) {
			if _, err := table.Reader(ctx, tenant, chunk...); err != nil {
				return err
			}
			for _, id := range chunk {
				if err := f(id); err != nil {
					return err
				}
			}
		}
		return nil
	}
	if err := each(func(string) error { return nil }); err != nil {
		return nil, err
	}
	cached, grown := heap()-before, resident()-small
	if err := each(func(id string) error {
		w, err := table.Writer(ctx, tenant, id)
		if err != nil {
			return err
		}
		_, err = w.Seal("email", fieldValue)
		return err
	}); err != nil {
		return nil, err
	}
	used := heap() - before
	runtime.KeepAlive(process)
	runtime.KeepAlive(table)
	return []taken{
		{fmt.Sprintf("%d persons, %d keys each, none used yet", persons, keyVersions), cached, "MB", "<= 200 MB"},
		{"the same, by what the process has grown (RSS)", grown, "MB", ""},
		{"the same, one key of each used", used, "MB", ""},
	}, nil
}

// heap is what is in use, in MB.
func heap() float64 {
	runtime.GC()
	runtime.GC() // pools are emptied by the second one
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc) / 1e6
}

// resident is what the process has of the machine's memory, in MB; 0 where that is
// not told.
func resident() float64 {
	debug.FreeOSMemory()
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	var size, pages float64
	if _, err := fmt.Sscan(string(text), &size, &pages); err != nil {
		return 0
	}
	return pages * float64(os.Getpagesize()) / 1e6
}

// newPersons makes keys of persons that nobody has seen, all at once.
func newPersons(ctx context.Context, p *bench) ([]taken, error) {
	const writers = 16
	persons := 20_000
	if p.small {
		persons = 64
	}
	s, err := p.postgres()
	if err != nil {
		return nil, err
	}
	dsn, err := s.database(ctx)
	if err != nil {
		return nil, err
	}
	key, err := newKEK()
	if err != nil {
		return nil, err
	}
	vaults := make([]*encryption.Vault, writers)
	for i := range vaults {
		db, err := p.connect(dsn, 2)
		if err != nil {
			return nil, err
		}
		if i == 0 {
			if err := sqlkeys.Install(ctx, db); err != nil {
				return nil, err
			}
		}
		store, err := sqlkeys.Open(ctx, db)
		if err != nil {
			return nil, err
		}
		open := encryption.Open
		if i == 0 {
			open = encryption.Create
		}
		vaults[i], err = open(ctx, encryption.Config{Keys: store, KEK: func(context.Context, string, string) (tink.AEADWithContext, error) { return key, nil }})
		if err != nil {
			return nil, err
		}
		if err := errors.Join(vaults[i].AddTenant(ctx, tenant), vaults[i].Ensure(ctx, tenant, fmt.Sprint("warm-", i))); err != nil {
			return nil, err
		}
	}
	var next atomic.Int64
	times, errs := make([][]float64, writers), make([]error, writers)
	begun := time.Now()
	var wg sync.WaitGroup
	for i, vault := range vaults {
		wg.Go(func() {
			for n := next.Add(1); n <= int64(persons) && errs[i] == nil; n = next.Add(1) {
				start := time.Now()
				errs[i] = vault.Ensure(ctx, tenant, personID(int(n)))
				times[i] = append(times[i], float64(time.Since(start)))
			}
		})
	}
	wg.Wait()
	took := time.Since(begun)
	all := slices.Sorted(slices.Values(slices.Concat(times...)))
	return []taken{
		{fmt.Sprintf("%d persons", persons), float64(persons) / took.Seconds(), "persons/s", ">= 1000 persons/s"},
		{"half of them waited at most", quantile(all, 0.5) / 1e6, "ms", ""},
		{"99 of 100 waited at most", quantile(all, 0.99) / 1e6, "ms", ""},
	}, errors.Join(errs...)
}
