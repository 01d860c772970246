package encryption

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

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
	keys, err := v.Inventory(ctx)
	if err != nil {
		return nil, err
	}
	out := []Finding{rewound, closing(keys), leaseFinding(keys.lease)}
	out = append(out, v.refusedKEKs(keys)...)
	out = append(out, v.failingKEKs()...)
	out = append(out, sealed(keys)...)
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

func closing(keys Inventory) Finding {
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
func (v *Vault) refusedKEKs(keys Inventory) []Finding {
	names := map[string][]string{"": slices.Concat([]string{keys.KEK}, keys.Retiring, keys.installation)}
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

func sealed(keys Inventory) []Finding {
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
func waiting(keys Inventory, name string, state keystore.KeyVersionState, remedy string) []Finding {
	sum := Finding{Name: name, Unit: "key versions"}
	var open []Finding
	for _, t := range keys.Tenants {
		f := Finding{Name: name, Subject: t.Tenant, Level: HealthNotice, Unit: sum.Unit, Remedy: remedy}
		for keyVersion, is := range t.KeyVersions {
			if is != state {
				continue
			}
			f.Value++
			if next := t.next(keyVersion); f.Since.IsZero() || next.Before(f.Since) {
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

// next is when the key version after this one was made.
func (t TenantInventory) next(keyVersion uint32) (out time.Time) {
	for _, created := range t.created {
		if created.After(t.created[keyVersion]) && (out.IsZero() || created.Before(out)) {
			out = created
		}
	}
	return out
}
