package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/crmguard/crmguard/accesscontrol"
)

const joinedSchema = `entity Role;
entity User in [Role];
entity Account { owner: User };
entity Contact { account: Account, stage: String };
action "contact.read" appliesTo { principal: [User], resource: [Contact] };
`

// joinedConfig shows a contact to whoever has a role and owns the contact's
// account: a permit for each of as many roles.
func joinedConfig(policies int) accesscontrol.Config {
	texts := map[string]string{"crm.cedarschema": joinedSchema}
	for i := range policies {
		texts[fmt.Sprintf("%02d.cedar", i/100)] += fmt.Sprintf("@id(\"%[1]s\")\npermit (principal in Role::%[1]q, action, resource)\nwhen { resource.account.owner == principal };\n", roleName(i))
	}
	return accesscontrol.Config{
		Texts: texts,
		Tables: []accesscontrol.Table{
			{
				Resource: "contact", Entity: "Contact", Name: "contacts", Key: "id", Tenant: "tenant", Read: "contact.read",
				Columns: []accesscontrol.Column{{Attr: "account", Required: true, Join: true}, {Attr: "stage", Required: true}},
			},
			{
				Resource: "account", Entity: "Account", Name: "accounts", Key: "id", Tenant: "tenant",
				Columns: []accesscontrol.Column{{Attr: "owner", Required: true}},
			},
		},
	}
}

// joinContests asks a table of contacts for those whose account is the user's.
func joinContests(ctx context.Context, p *bench) ([]contest, error) {
	s, err := p.postgres()
	if errors.Is(err, errNoServer) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	policy, err := accesscontrol.Load(ctx, joinedConfig(1000))
	if err != nil {
		return nil, err
	}
	rows := 1_000_000
	if p.small {
		rows = 50_000
	}
	dsn, err := s.database(ctx)
	if err != nil {
		return nil, err
	}
	db, err := p.connect(dsn, 1)
	if err != nil {
		return nil, err
	}
	if err := fillAccounts(ctx, db, rows); err != nil {
		return nil, err
	}
	if err := policy.CheckSchema(ctx, db); err != nil {
		return nil, err
	}
	c, err := joinContest(ctx, policy, db)
	c.What = fmt.Sprintf("a list of 50 among %d rows, visible through their account, PostgreSQL", rows)
	return []contest{c}, err
}

// fillAccounts makes an account for each ten contacts; five of them are the
// user's.
func fillAccounts(ctx context.Context, db *sql.DB, rows int) error {
	for _, statement := range []string{
		`CREATE TABLE accounts (id text PRIMARY KEY, tenant text NOT NULL, owner text NOT NULL, name text NOT NULL)`,
		`CREATE TABLE contacts (id text PRIMARY KEY, tenant text NOT NULL, account text NOT NULL REFERENCES accounts, stage text NOT NULL, name text NOT NULL)`,
		fmt.Sprintf(`INSERT INTO accounts
			SELECT 'a' || i, 'main', CASE WHEN i %% %[2]d = 0 THEN 'ann' ELSE 'user' || i %% 5000 END, 'Mueller ' || i
			FROM generate_series(0, %[1]d - 1) AS i`, rows/10, rows/50),
		fmt.Sprintf(`INSERT INTO contacts
			SELECT 'c' || lpad(i::text, 8, '0'), 'main', 'a' || i %% %[2]d, 'open', 'Zoe Mueller ' || i
			FROM generate_series(0, %[1]d - 1) AS i`, rows, rows/10),
		`CREATE INDEX accounts_owner ON accounts (owner)`,
		`CREATE INDEX contacts_account ON contacts (account)`,
		`VACUUM ANALYZE accounts`,
		`VACUUM ANALYZE contacts`,
	} {
		if _, err := db.ExecContext(ctx, statement); err != nil {
			return err
		}
	}
	return nil
}

func joinContest(ctx context.Context, policy *accesscontrol.Policy, db *sql.DB) (contest, error) {
	actor, err := policy.For(accesscontrol.Principal{Tenant: "main", ID: "ann", Parents: []accesscontrol.Ref{{Type: "Role", ID: roleName(3)}}})
	if err != nil {
		return contest{}, err
	}
	const list = "SELECT c.id FROM contacts AS c WHERE "
	const written = list + "c.tenant = $1 AND EXISTS (SELECT 1 FROM accounts AS a WHERE a.id = c.account AND a.tenant = $1 AND a.owner = $2)"
	filtered := func() (string, []any, error) {
		where, err := actor.Filter(ctx, "contact.read", "contact")
		condition, args := where.Postgres("c", 1)
		return list + condition, args, err
	}
	hand := lists(ctx, db, "an EXISTS, hand-written", floor, func() (string, []any, error) { return written, []any{"main", "ann"}, nil })
	hand.Must = []string{"<= 1.1"}
	return contest{
		Package:     "accesscontrol",
		Note:        "database/sql and pgx on a socket, one connection, ids read. Ours makes condition and text at each call, of 1,000 policies and for a bound principal. The plans of both read the same indexes, and no table from its beginning.",
		Contestants: []contestant{lists(ctx, db, "Actor.Filter, its SQL, SELECT", ours, filtered), hand},
	}, nil
}
