package encryption

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/crmguard/crmguard/encryption/internal/keyring"
	"github.com/crmguard/crmguard/encryption/keystore"
	"github.com/crmguard/crmguard/internal/health"
)

// Finding is one thing that [Vault.Status] has looked at. Its fields:
//
//	Name    string    // as the package comment lists it
//	Subject string    // what it is about; "" is all
//	Level   HealthOK, HealthNotice or HealthAlarm, in this order; String is "ok", "notice", "alarm"
//	Value   float64   // what was measured
//	Unit    string    // of Value: "s", or what is counted
//	Since   time.Time // since when it is so; zero where that is not known
//	Remedy  string    // what to do; "" where nothing is to be done
//
// String is one line for people, Compare sorts the worst first, and it goes
// into encoding/json and log/slog as it is. All packages have this one type, so
// one page shows all.
type Finding = health.Finding

// The levels of a Finding. They are ordered: the worst of many is their max.
const (
	HealthOK     = health.OK     // looked at, and well
	HealthNotice = health.Notice // well for now, and somebody should know
	HealthAlarm  = health.Alarm  // a promise does not hold, or will not for long
)

// The bound of AES-GCM with random IVs is 2^32 messages a key. At half of it the
// key version ends by itself; a key with more does not come from this library.
const (
	sealNotice = keyring.WornSeals / 2
	sealAlarm  = keyring.WornSeals + 1
)

// Status says how the keys are: every finding of the package comment, those
// that are well included. The error says that the key store cannot be read.
func (v *Vault) Status(ctx context.Context) ([]Finding, error) {
	rewound, err := v.rewound(ctx)
	if err != nil {
		return nil, err
	}
	keys, err := v.ring.Inventory(ctx)
	if err != nil {
		return nil, err
	}
	out := []Finding{rewound, closing(keys.Inventory), leaseFinding(keys.State)}
	out = append(out, v.refusedKEKs(keys)...)
	out = append(out, v.failingKEKs()...)
	out = append(out, sealed(keys.Inventory)...)
	out = append(out, waiting(keys, "encryption.key_version.retired", keystore.Retired,
		"reseal what is under the old key version, then call DestroyKeyVersion; until then every key copy has to keep it")...)
	out = append(out, waiting(keys, "encryption.key_version.destroying", keystore.Destroying,
		"its destruction was interrupted: call DestroyKeyVersion again")...)
	out = append(out, waiting(keys, "encryption.key_version.deleting", keystore.Deleting,
		"its destruction was interrupted when some of its keys were gone: call DestroyKeyVersion again; what still needs it, Reseal brings away or lists")...)
	out = append(out, v.colocated(ctx, "encryption.store.colocated")...)
	copies, err := v.copies.Findings(ctx)
	if err != nil {
		return nil, err
	}
	out = append(out, copies...)
	if reporter, ok := v.cfg.Keys.(keystore.Reporter); ok {
		more, err := reporter.Status(ctx)
		if err != nil {
			return nil, keyring.StoreError(err)
		}
		out = append(out, more...)
	}
	return out, nil
}

// rewound says whether the key store is the one that this vault has seen, or
// what it was before.
func (v *Vault) rewound(ctx context.Context) (Finding, error) {
	before := v.ring.Known() // read first: the store is never behind it in a sound system
	f := Finding{Name: "encryption.store.rewound", Unit: "stores"}
	_, err := v.ring.Compare(ctx, before)
	switch {
	case errors.Is(err, ErrRewound):
		f.Level, f.Value = HealthAlarm, 1
		f.Remedy = "an older key store, or another one, was put in place, and with it keys that were destroyed: stop, and restore the newest key copy; after a failover call RepairFromCaches in every process, then Open afresh"
	case err != nil:
		return f, keyring.StoreError(err)
	}
	return f, nil
}

func closing(keys keystore.Inventory) Finding {
	f := Finding{Name: "encryption.epoch.closing", Value: float64(len(keys.Retiring)), Unit: "KEKs"}
	if len(keys.Retiring) > 0 {
		f.Level = HealthNotice
		f.Remedy = "an epoch is half closed, and erasures are not final in key copies: call RewrapKeys again with the name of the new KEK"
	}
	return f
}

// leaseFinding says whether a lease is half shortened.
func leaseFinding(state keystore.State) Finding {
	f := Finding{Name: "encryption.lease.wait", Value: state.LeaseWait.Seconds(), Unit: "s"}
	if state.LeaseWait > state.Lease {
		f.Level = HealthNotice
		f.Remedy = fmt.Sprintf("the lease is half changed, and erasures wait for the old one: call ChangeLease again with %v", state.Lease)
	}
	return f
}

// refusedKEKs counts the names of KEKs in the key store that Config.KEKs does
// not permit.
func (v *Vault) refusedKEKs(keys keyring.Inventory) []Finding {
	names := map[string][]string{"": slices.Concat([]string{keys.KEK}, keys.Retiring, keys.Installation)}
	for _, t := range keys.Tenants {
		names[t.Tenant] = t.KEKs
	}
	refused := map[string]Finding{}
	for tenant, names := range names {
		slices.Sort(names)
		names = slices.DeleteFunc(slices.Compact(names), v.cfg.permitsKEK)
		refused[tenant] = Finding{Value: float64(len(names))}
	}
	return alarms("encryption.kek.refused", "KEKs", refused,
		"the key store names a KEK that Config.KEKs does not permit, and it is not asked: add the name there if it is yours; otherwise somebody planted it: stop, and restore the newest key copy")
}

// failingKEKs counts the keysets that did not open when this process asked last.
func (v *Vault) failingKEKs() []Finding {
	return alarms("encryption.kek.failing", "keysets", v.ring.FailingKeysets(),
		"the KEK does not open these keysets: mend the KMS or hand in the KEK that the error of the calls names; what is in memory goes on, a new start would fail")
}

// alarms raises one where a tenant counts more than nothing; that of the
// installation ("") stands in the sum alone.
func alarms(name, unit string, byTenant map[string]Finding, remedy string) []Finding {
	sum := Finding{Name: name, Unit: unit}
	var out []Finding
	for tenant, f := range byTenant {
		if f.Value == 0 {
			continue
		}
		sum.Value += f.Value
		f.Name, f.Subject, f.Unit, f.Level, f.Remedy = name, tenant, unit, HealthAlarm, remedy
		if tenant == "" {
			sum.Level, sum.Remedy, sum.Since = f.Level, f.Remedy, f.Since
			continue
		}
		out = append(out, f)
	}
	return health.Tally(sum, out)
}

func sealed(keys keystore.Inventory) []Finding {
	sum := Finding{Name: "encryption.key.seals", Unit: "seals"}
	var much []Finding
	for _, t := range keys.Tenants {
		sum.Value = max(sum.Value, float64(t.MostSeals))
		f := Finding{Name: sum.Name, Subject: t.Tenant, Value: float64(t.MostSeals), Unit: sum.Unit, Remedy: "one key nears half of the bound of AES-GCM, where the next key version begins by itself, also after a key copy was restored: then reseal"}
		f.Level = max(health.Yes(t.MostSeals >= sealNotice, HealthNotice), health.Yes(t.MostSeals >= sealAlarm, HealthAlarm))
		much = append(much, f)
	}
	return health.Tally(sum, much)
}

// waiting counts the key versions in a state that somebody has to end. One is
// retired since the next one was made.
func waiting(keys keyring.Inventory, name string, state keystore.KeyVersionState, remedy string) []Finding {
	sum := Finding{Name: name, Unit: "key versions"}
	var open []Finding
	for _, t := range keys.Tenants {
		f := Finding{Name: name, Subject: t.Tenant, Level: HealthNotice, Unit: sum.Unit, Remedy: remedy}
		for keyVersion, is := range t.KeyVersions {
			if is != state {
				continue
			}
			f.Value++
			if next := keys.Next(t.Tenant, keyVersion); f.Since.IsZero() || next.Before(f.Since) {
				f.Since = next
			}
		}
		if f.Value > 0 {
			sum.Value += f.Value
			open = append(open, f)
		}
	}
	return health.Tally(sum, open)
}

// Inventory reads the state of the key store.
func (v *Vault) Inventory(ctx context.Context) (keystore.Inventory, error) {
	keys, err := v.ring.Inventory(ctx)
	return keys.Inventory, err
}

// maxNeighbours bounds the databases that Status asks where they are.
const maxNeighbours = 16

// neighbours are the databases that hold what is sealed, as far as the vault
// has met them: Config.Data, and those that were handed to a job.
type neighbours struct {
	mu  sync.Mutex // held for moments: never while a database is asked
	dbs []neighbour
}

type neighbour struct {
	db   *sql.DB
	same bool // it was found on the server of the keys once, and is asked again
}

func (n *neighbours) meet(dbs ...*sql.DB) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, db := range dbs {
		known := slices.ContainsFunc(n.dbs, func(one neighbour) bool { return one.db == db })
		if db != nil && !known && len(n.dbs) < maxNeighbours {
			n.dbs = append(n.dbs, neighbour{db: db})
		}
	}
}

func (n *neighbours) list() []neighbour {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.dbs)
}

// answered keeps what a database was found to be. One that a job brought and
// that cannot be asked is forgotten, for it may be closed by now.
func (n *neighbours) answered(db *sql.DB, same, forget bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for i, one := range n.dbs {
		if one.db != db {
			continue
		}
		if forget {
			n.dbs = slices.Delete(n.dbs, i, i+1)
		} else {
			n.dbs[i].same = same
		}
		return
	}
}

// colocated counts the databases on the server of the keys. It says nothing
// where none is known, or where the key store cannot tell.
func (v *Vault) colocated(ctx context.Context, name string) []Finding {
	store, ok := v.cfg.Keys.(keystore.Locator)
	known := v.neighbours.list()
	if !ok || len(known) == 0 {
		return nil
	}
	f := Finding{Name: name, Unit: "databases"}
	unknown := 0
	for _, one := range known {
		same, err := store.SameServer(ctx, one.db)
		configured := slices.Contains(v.cfg.Data, one.db)
		switch {
		case err == nil:
			v.neighbours.answered(one.db, same, false)
		case one.same: // servers do not move while they are away
			same = true
		case configured:
			unknown++
		default:
			v.neighbours.answered(one.db, false, true)
		}
		if same {
			f.Value++
		}
	}
	switch {
	case f.Value > 0:
		f.Level = HealthAlarm
		f.Remedy = "the keys stand on the server of what they seal, so its physical backups, logs and standbys hold the keys of erased persons beside their rows, until RewrapKeys has ended the old KEK: move the key store to a server of its own (WriteCopy, then RestoreCopy there)"
	case unknown > 0:
		f.Level = HealthNotice
		f.Remedy = "a database of Config.Data could not be asked whether it stands on the server of the keys: see that it answers"
	}
	return []Finding{f}
}
