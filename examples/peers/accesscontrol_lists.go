package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/crmguard/crmguard/accesscontrol"
)

// listContests asks a table of contacts for those that somebody may read: own
// ones, those of the team, none that is blocked.
func listContests(ctx context.Context, p *bench) ([]contest, error) {
	s, err := p.postgres()
	if errors.Is(err, errNoServer) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	config := policyConfig(1000)
	config.Tables[0].OnlyTenant, config.Tables[0].Tenant = "", "tenant"
	policy, err := accesscontrol.Load(ctx, config)
	if err != nil {
		return nil, err
	}
	sizes := []struct{ rows, visible int }{{20_000, 14}, {1_000_000, 50}}
	if p.small {
		sizes[1].rows = 50_000
	}
	var out []contest
	for _, size := range sizes {
		dsn, err := s.database(ctx)
		if err != nil {
			return nil, err
		}
		db, err := p.connect(dsn, 1)
		if err != nil {
			return nil, err
		}
		if err := fillContacts(ctx, db, size.rows, size.visible); err != nil {
			return nil, err
		}
		if err := policy.CheckSchema(ctx, db); err != nil {
			return nil, err
		}
		c, err := listContest(ctx, policy, db)
		if err != nil {
			return nil, err
		}
		c.What = fmt.Sprintf("a list of %d among %d rows, PostgreSQL", size.visible, size.rows)
		out = append(out, c)
	}
	return out, nil
}

// fillContacts makes rows of others, and among them those that are visible, of
// which five are the user's own for two of the team's, and two that are blocked.
func fillContacts(ctx context.Context, db *sql.DB, rows, visible int) error {
	for _, statement := range []string{
		`CREATE TABLE contacts (id text PRIMARY KEY, tenant text NOT NULL, owner text NOT NULL, team text NOT NULL, stage text NOT NULL, blocked boolean, name text NOT NULL)`,
		fmt.Sprintf(`INSERT INTO contacts
			SELECT 'c' || lpad(i::text, 8, '0'), 'main',
				CASE WHEN shown AND i / step < %[3]d THEN 'ann' ELSE 'user' || i %% %[4]d END,
				CASE WHEN shown AND i / step BETWEEN %[3]d AND %[2]d - 1 THEN 'east' ELSE 'team' || i %% %[4]d END,
				'open', CASE WHEN shown AND i / step >= %[2]d THEN true WHEN i %% 3 = 0 THEN false END, 'Zoe Mueller ' || i
			FROM (SELECT i, %[5]d AS step, i %% %[5]d = 0 AND i / %[5]d < %[2]d + 2 AS shown FROM generate_series(0, %[1]d - 1) AS i) AS r`,
			rows, visible, visible*5/7, rows/20, rows/(visible+2)),
		`UPDATE contacts SET owner = 'ann' WHERE blocked`, // shown to nobody
		`CREATE INDEX contacts_owner ON contacts (owner)`,
		`CREATE INDEX contacts_team ON contacts (team)`,
		`VACUUM ANALYZE contacts`,
	} {
		if _, err := db.ExecContext(ctx, statement); err != nil {
			return err
		}
	}
	return nil
}

func listContest(ctx context.Context, policy *accesscontrol.Policy, db *sql.DB) (contest, error) {
	q := question{user: "ann", role: roleName(3), team: "east"}
	actor, err := policy.For(q.principal())
	if err != nil {
		return contest{}, err
	}
	const list = "SELECT c.id FROM contacts AS c WHERE "
	filtered := func() (string, []any, error) {
		where, err := actor.Filter(ctx, "contact.read", "contact")
		condition, args := where.Postgres("c", 1)
		return list + condition, args, err
	}
	written := list + "c.tenant = $1 AND " + contactsByHand("c", "$2", "$3")
	hand := lists(ctx, db, "a WHERE, hand-written", floor, func() (string, []any, error) { return written, []any{"main", "ann", "east"}, nil })
	hand.Must = []string{"<= 1.1"}
	return contest{
		Package:     "accesscontrol",
		Note:        "database/sql and pgx on a socket, one connection, ids read. Ours makes condition and text at each call, of 1,000 policies and for a bound principal. The plans of both read the same indexes, and no table from its beginning.",
		Contestants: []contestant{lists(ctx, db, "Actor.Filter, its SQL, SELECT", ours, filtered), hand},
	}, nil
}

var indexName = regexp.MustCompile(`"Index Name": "([^"]*)"`)

func lists(ctx context.Context, db *sql.DB, name string, kind role, query func() (string, []any, error)) contestant {
	return contestant{
		Name: name, Role: kind,
		Answer: func() (string, error) {
			text, args, err := query()
			if err != nil {
				return "", err
			}
			ids, err := selected(ctx, db, text, args...)
			if err != nil {
				return "", err
			}
			slices.Sort(ids)
			plan, err := one[string](ctx, db, "EXPLAIN (FORMAT JSON) "+text, args...)
			if err != nil {
				return "", err
			}
			if strings.Contains(plan, `"Seq Scan"`) || len(ids) == 0 {
				return "", fmt.Errorf("%d rows by the plan %s", len(ids), plan)
			}
			var indexes []string
			for _, found := range indexName.FindAllStringSubmatch(plan, -1) {
				indexes = append(indexes, found[1])
			}
			slices.Sort(indexes)
			return fmt.Sprintf("%s by %s", ids, indexes), nil
		},
		Run: func(runs int) error {
			for range runs {
				text, args, err := query()
				if err != nil {
					return err
				}
				if _, err := selected(ctx, db, text, args...); err != nil {
					return err
				}
			}
			return nil
		},
	}
}
