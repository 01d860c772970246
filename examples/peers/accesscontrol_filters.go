package main

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/rego"
	"github.com/open-policy-agent/opa/v1/rego/compile"

	"github.com/crmguard/crmguard/accesscontrol"
)

// opaFilter is the rule of policyTexts in three rules of OPA.
const opaFilter = `package filters

granted if data.grants[input.user.role][input.action]

include if {
	granted
	input.contacts.owner == input.user.id
	input.contacts.blocked == false
}

include if {
	granted
	input.contacts.team == input.user.team
	input.contacts.blocked == false
}
`

// contactsTable has rows without a NULL: with one in "blocked", what OPA's
// condition selects and what its rules permit are two things.
func contactsTable(ctx context.Context, p *bench) (*sql.DB, error) {
	db, err := p.database(ctx, "filters", `CREATE TABLE contacts (id TEXT PRIMARY KEY, owner TEXT NOT NULL, team TEXT NOT NULL, stage TEXT NOT NULL, blocked INTEGER) STRICT`)
	if err != nil {
		return nil, err
	}
	for i := range 200 {
		if _, err := db.ExecContext(ctx, `INSERT INTO contacts VALUES (?, ?, ?, 'open', ?)`, fmt.Sprintf("c%03d", i), fmt.Sprintf("u%d", i%11), fmt.Sprintf("team%d", i%7), i%5/4); err != nil {
			return nil, err
		}
	}
	return db, nil
}

// reader is a principal of the filters.
func reader(id string) question {
	return question{user: id, role: roleName(3), team: "team1", action: "contact.read"}
}

// filters makes a condition at each call, with its arguments, for the user of
// that name.
func filters(ctx context.Context, db *sql.DB, name string, kind role, condition func(user string) (string, []any, error)) contestant {
	made := 0
	return contestant{
		Name: name, Role: kind,
		Answer: func() (string, error) {
			hash, rows := sha256.New(), 0
			for i := range 11 {
				text, args, err := condition(fmt.Sprintf("u%d", i))
				if err != nil {
					return "", err
				}
				ids, err := selected(ctx, db, "SELECT id FROM contacts WHERE "+text+" ORDER BY id", args...)
				if err != nil {
					return "", err
				}
				rows += len(ids)
				_, _ = fmt.Fprintf(hash, "%s;", ids)
			}
			if rows == 0 || rows == 11*200 {
				return "", errors.New("the conditions tell nothing apart")
			}
			return fmt.Sprintf("%d rows, %x", rows, hash.Sum(nil)[:8]), nil
		},
		Run: func(runs int) error {
			for range runs {
				made++
				if _, _, err := condition("v" + strconv.Itoa(made)); err != nil {
					return err
				}
			}
			return nil
		},
	}
}

func selected(ctx context.Context, db *sql.DB, query string, args ...any) (ids []string, err error) {
	rows, err := db.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			return nil, err
		}
		ids = append(ids, id)
	}
	return ids, rows.Err()
}

func filterContests(ctx context.Context, p *bench) ([]contest, error) {
	const policies = 1000
	db, err := contactsTable(ctx, p)
	if err != nil {
		return nil, err
	}
	policy, err := accesscontrol.Load(ctx, policyConfig(policies))
	if err != nil {
		return nil, err
	}
	opa, err := opaConditions(ctx, policies)
	if err != nil {
		return nil, err
	}
	cold := func(user string) (string, []any, error) {
		q := reader(user)
		where, err := policy.Filter(ctx, q.principal(), q.action, "contact")
		text, args := where.SQLite("contacts")
		return text, args, err
	}
	compiled := filters(ctx, db, "OPA, a prepared compilation of 3 rules", peer, opa)
	compiled.Must = []string{">= 5"}
	byHand := contactsByHand("contacts", "?", "?")
	cached, err := cachedFilters(ctx, policy, db, cold)
	return []contest{
		{
			Package: "accesscontrol", What: "a filter for a new principal, 1,000 policies",
			Note: "A principal at each call who was never seen before, and the condition as text: ours with arguments for its placeholders, OPA's with the values written into it. OPA has the permits as data. The rows selected are the same from all; none of them has a NULL, at which OPA's conditions and its decisions differ.",
			Contestants: []contestant{
				filters(ctx, db, "Policy.Filter and its SQL", ours, cold),
				compiled,
				filters(ctx, db, "a WHERE, hand-written", floor, func(user string) (string, []any, error) {
					return byHand, []any{user, "team1"}, nil
				}),
			},
		},
		cached,
	}, err
}

func contactsByHand(table, owner, team string) string {
	return fmt.Sprintf("(%[1]s.owner = %[2]s OR %[1]s.team = %[3]s) AND %[1]s.blocked IS NOT TRUE", table, owner, team)
}

// cachedFilters asks again and again for the same eleven principals.
func cachedFilters(ctx context.Context, policy *accesscontrol.Policy, db *sql.DB, cold func(string) (string, []any, error)) (contest, error) {
	var actors []*accesscontrol.Actor
	var users []string
	for i := range 11 {
		q := reader(fmt.Sprintf("u%d", i))
		actor, err := policy.For(q.principal())
		if err != nil {
			return contest{}, err
		}
		actors, users = append(actors, actor), append(users, q.user)
	}
	bound := func(user string) (string, []any, error) {
		where, err := actors[slices.Index(users, user)].Filter(ctx, "contact.read", "contact")
		text, args := where.SQLite("contacts")
		return text, args, err
	}
	turns := func(c contestant, one func(i int) error) contestant {
		next := 0
		c.Run = func(n int) error {
			for range n {
				if err := one(next); err != nil {
					return err
				}
				if next++; next == len(actors) {
					next = 0
				}
			}
			return nil
		}
		return c
	}
	return contest{
		Package: "accesscontrol", What: "a filter for a bound principal, 1,000 policies",
		Note:   "Eleven principals in turn. The condition is a value; its text is made where it is wanted, which the second line has too.",
		Limits: []string{"<= 200 ns"},
		Contestants: []contestant{
			turns(filters(ctx, db, "Actor.Filter", ours, bound), func(i int) error {
				where, err := actors[i].Filter(ctx, "contact.read", "contact")
				if where.Nothing() {
					err = errors.Join(err, errors.New("nobody sees anything"))
				}
				return err
			}),
			turns(filters(ctx, db, "Actor.Filter and its SQL", ours, bound), func(i int) error {
				where, err := actors[i].Filter(ctx, "contact.read", "contact")
				if text, _ := where.SQLite("contacts"); text == "" {
					err = errors.Join(err, errors.New("no text"))
				}
				return err
			}),
			turns(filters(ctx, db, "Policy.Filter and its SQL, the principal handed in", ours, cold), func(i int) error {
				_, _, err := cold(users[i])
				return err
			}),
		},
	}, nil
}

// opaConditions compiles for a user: all that does not depend on the input was
// done before, and the input is handed over in OPA's own form.
func opaConditions(ctx context.Context, policies int) (func(user string) (string, []any, error), error) {
	prepared, err := compile.New(
		compile.Target("sql", "sqlite"),
		compile.ParsedUnknowns(ast.MustParseTerm("input.contacts")),
		compile.ParsedQuery(ast.MustParseBody("data.filters.include")),
		compile.Rego(rego.Module("filters.rego", opaFilter), rego.Store(opaGrants(policies))),
	).Prepare(ctx)
	if err != nil {
		return nil, err
	}
	text := func(s string) *ast.Term { return ast.StringTerm(s) }
	return func(user string) (string, []any, error) {
		q := reader(user)
		input := ast.NewObject(
			ast.Item(text("user"), ast.ObjectTerm(ast.Item(text("id"), text(q.user)), ast.Item(text("role"), text(q.role)), ast.Item(text("team"), text(q.team)))),
			ast.Item(text("action"), text(q.action)),
		)
		compiled, err := prepared.Compile(ctx, rego.EvalParsedInput(input))
		if err != nil {
			return "", nil, err
		}
		condition, ok := strings.CutPrefix(fmt.Sprint(compiled.One().Query), "WHERE ")
		if !ok {
			return "", nil, errors.New("not a condition")
		}
		return condition, nil, nil
	}, nil
}
