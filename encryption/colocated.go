package encryption

import (
	"context"
	"database/sql"
	"slices"
	"sync"

	"github.com/crmguard/crmguard/encryption/keystore"
)

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
