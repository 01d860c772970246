package sqlledger_test

import (
	"context"
	"database/sql"
	"fmt"
	"log"
	"os"
	"path/filepath"

	_ "modernc.org/sqlite"

	"github.com/crmguard/crmguard/privacy/erasurelog"
	"github.com/crmguard/crmguard/privacy/sqlledger"
)

// must and check stand for what an application does about an error.
func must[T any](value T, err error) T {
	check(err)
	return value
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

// A ledger in the database of the keys.
func Example_firstLines() {
	ctx, dir := context.Background(), must(os.MkdirTemp("", "sqlledger"))
	defer os.RemoveAll(dir)
	keyDB := must(sql.Open("sqlite", "file:"+filepath.Join(dir, "keys.db")+"?_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=secure_delete(1)"))
	defer keyDB.Close()
	secret := filepath.Join(dir, "crm.secret")
	check(erasurelog.NewKeysFile(secret)) // once
	keptHead := func(context.Context) ([]byte, error) { return nil, nil }
	check(sqlledger.Install(ctx, keyDB)) // as the owner of the tables
	ledger := must(erasurelog.Open(erasurelog.Config{
		Medium:  must(sqlledger.Open(ctx, keyDB)),
		Digests: must(erasurelog.KeysFile(secret)),
		Anchors: []erasurelog.Anchor{{Name: "the audit trail", Head: keptHead}},
	}))
	check(ledger.Create(ctx)) // once in the life of the system
	state, err := ledger.Read(ctx)
	fmt.Println(state.Head().N, err)
	// Output: 0 <nil>
}
