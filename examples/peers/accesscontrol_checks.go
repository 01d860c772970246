package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/crmguard/crmguard/accesscontrol"
)

// askers are all who answer the same questions from as many policies.
type askers struct {
	asked                                     []question
	bound, handed, built                      func(int) (bool, error) // ours
	cedarReady, cedarFresh, opa, casbin, maps func(int) (bool, error)
}

func newAskers(ctx context.Context, policies int, asked []question) (a askers, err error) {
	a = askers{asked: asked, maps: goMaps(policies, asked)}
	if a.bound, err = ourActors(ctx, policies, asked); err != nil {
		return a, err
	}
	if a.handed, a.built, err = ourPolicy(ctx, policies, asked); err != nil {
		return a, err
	}
	if a.cedarReady, a.cedarFresh, err = cedarPolicy(policies, asked); err != nil {
		return a, err
	}
	if a.opa, err = opaPolicy(ctx, policies, asked); err != nil {
		return a, err
	}
	a.casbin, err = casbinPolicy(policies, asked)
	return a, err
}

// allowed are the questions that are answered with yes.
func (a askers) allowed() (out []question, err error) {
	for i, q := range a.asked {
		yes, err := a.maps(i)
		if err != nil {
			return nil, err
		}
		if yes {
			out = append(out, q)
		}
	}
	return out, nil
}

const sameQuestions = "1,000 questions in turn (10 users, 25 contacts, 4 actions), the same answers from all. "

func checkContests(ctx context.Context, _ *bench) ([]contest, error) {
	few, err := newAskers(ctx, 10, questions(10))
	if err != nil {
		return nil, err
	}
	many, err := newAskers(ctx, 1000, questions(1000))
	if err != nil {
		return nil, err
	}
	yes, err := many.allowed()
	if err != nil {
		return nil, err
	}
	permitted, err := newAskers(ctx, 1000, yes)
	if err != nil {
		return nil, err
	}
	denied, err := denials(ctx, 1000, many)
	if err != nil {
		return nil, err
	}
	growing, err := growth(ctx)
	return []contest{oneShot(few), boundChecks(many), permittedChecks(permitted), casbinChecks(many), growing, denied}, err
}

func oneShot(a askers) contest {
	n := len(a.asked)
	built := checks("cedar.Authorize, entities built at the call", peer, n, a.cedarFresh)
	built.Must = []string{"<= 0.8"}
	return contest{
		Package: "accesscontrol",
		What:    "one check among 10 policies, principal and record handed in",
		Note:    sameQuestions + "Policy.Check takes principal and record as Go values at each call; it finds what it worked out for the same principal before. cedar.Authorize with entities built beforehand is what no application can do for rows it has just read. Ours is measured too with its maps of attributes built at the call.",
		Contestants: []contestant{
			checks("Policy.Check", ours, n, a.handed),
			built,
			checks("Policy.Check, its maps built at the call", ours, n, a.built),
			checks("cedar.Authorize, entities built beforehand", peer, n, a.cedarReady),
			checks("Go maps, hand-written", floor, n, a.maps),
		},
	}
}

func boundChecks(a askers) contest {
	n := len(a.asked)
	c := contest{
		Package: "accesscontrol",
		What:    "one check among 1,000 policies by a bound principal",
		Note:    sameQuestions + "A quarter of them is allowed; the error of a denial, with its reason and its policies, is part of the time. Whatever can be built beforehand is, for all of them. OPA is asked by a prepared query, with its grants as data in the form it reads fastest, and with its input parsed before.",
		Contestants: []contestant{
			checks("Actor.Check", ours, n, a.bound),
			checks("cedar.Authorize, entities built beforehand", peer, n, a.cedarReady),
			checks("OPA, a prepared query, input parsed beforehand", peer, n, a.opa),
			checks("Go maps, hand-written", floor, n, a.maps),
		},
	}
	for i, must := range []string{">= 500", ">= 50", "<= 10"} {
		c.Contestants[i+1].Must = []string{must}
	}
	return c
}

func permittedChecks(a askers) contest {
	n := len(a.asked)
	maps := checks("Go maps, hand-written", floor, n, a.maps)
	maps.Must = []string{"<= 10"}
	return contest{
		Package: "accesscontrol",
		What:    "one check among 1,000 policies by a bound principal, allowed",
		Note:    "Those of the questions before that are answered with yes: nothing is allocated for them.",
		Contestants: []contestant{
			checks("Actor.Check", ours, n, a.bound),
			maps,
		},
		Limits: []string{"<= 0 allocs"},
	}
}

// casbinChecks asks all questions in a run: one alone may take longer than a
// block, in which a check of ours is too short for the clock.
func casbinChecks(a askers) contest {
	all := func(name string, kind role, ask func(int) (bool, error)) contestant {
		c := checks(name, kind, len(a.asked), ask)
		single := c.Run
		c.Run = func(n int) error { return single(n * len(a.asked)) }
		return c
	}
	casbin := all("Casbin, an Enforcer", peer, a.casbin)
	casbin.Must = []string{">= 1000"}
	return contest{
		Package: "accesscontrol",
		What:    "1,000 checks among 1,000 policies by bound principals",
		Note:    "The same questions, all of them in a run. Casbin is asked without a cache: its CachedEnforcer goes on to permit what was taken away. Its rules are (role, action); what is true of question and contact stands in the matcher, as plain texts, before what looks for a role.",
		Contestants: []contestant{
			all("Actor.Check", ours, a.bound),
			casbin,
		},
	}
}

// growth asks two policy sets what both of them answer alike: the roles of the
// small one are in the large one too.
func growth(ctx context.Context) (contest, error) {
	asked := slices.DeleteFunc(questions(10), func(q question) bool { return q.role != roleName(0) && q.role != roleName(1) })
	var contestants []contestant
	for _, policies := range []int{10_000, 10} {
		ask, err := ourActors(ctx, policies, asked)
		if err != nil {
			return contest{}, err
		}
		contestants = append(contestants, checks(fmt.Sprintf("Actor.Check among %d policies", policies), ours, len(asked), ask))
	}
	contestants[1].Must = []string{"<= 1.3"}
	return contest{
		Package: "accesscontrol", What: "one check by a bound principal: what more policies cost", Contestants: contestants,
		Note: fmt.Sprintf("%d questions in turn, by users of roles that both policy sets have.", len(asked)),
	}, nil
}

// denials asks what is denied, and why.
func denials(ctx context.Context, policies int, a askers) (contest, error) {
	yes, err := a.allowed()
	if err != nil {
		return contest{}, err
	}
	no := slices.DeleteFunc(slices.Clone(a.asked), func(q question) bool { return slices.Contains(yes, q) })
	policy, err := accesscontrol.Load(ctx, policyConfig(policies))
	if err != nil {
		return contest{}, err
	}
	all, err := holds(policy, no)
	if err != nil {
		return contest{}, err
	}
	cedar, err := cedarReasons(policies, no)
	if err != nil {
		return contest{}, err
	}
	checked := func(i int) ([]string, error) {
		var denied *accesscontrol.Denied
		if err := all[i].check(ctx); !errors.As(err, &denied) {
			return nil, errors.Join(errors.New("must be denied"), err)
		}
		if denied.Reason == "" || (denied.Reason == accesscontrol.Forbidden) != (len(denied.Policies) > 0) {
			return nil, fmt.Errorf("denied without a reason: %w", denied)
		}
		return denied.Policies, nil
	}
	decided := func(i int) ([]string, error) {
		d, err := all[i].by.Decide(ctx, all[i].action, all[i].record)
		if d.Allowed {
			err = errors.New("must be denied")
		}
		return d.Policies, err
	}
	return contest{
		Package: "accesscontrol", What: "a denial among 1,000 policies by a bound principal, with its reason",
		Note:   fmt.Sprintf("The %d questions of those before that are answered with no; all name the policies that forbid. Actor.Check says too whether any policy forbids or none permits, Actor.Decide which permit came nearest.", len(no)),
		Limits: []string{"<= 2000 ns"},
		Contestants: []contestant{
			reasons("Actor.Check", ours, len(no), checked),
			reasons("Actor.Decide, with the nearest permit", ours, len(no), decided),
			reasons("cedar.Authorize, entities built beforehand", peer, len(no), cedar),
		},
	}, nil
}

// reasons asks for the policies that forbid.
func reasons(name string, kind role, n int, ask func(i int) ([]string, error)) contestant {
	c := checks(name, kind, n, func(i int) (bool, error) {
		_, err := ask(i)
		return true, err
	})
	c.Answer = func() (string, error) {
		forbidden, hash := 0, sha256.New()
		for i := range n {
			policies, err := ask(i)
			if err != nil {
				return "", err
			}
			if len(policies) > 0 {
				forbidden++
			}
			_, _ = fmt.Fprintf(hash, "%s;", strings.Join(policies, ","))
		}
		if forbidden == 0 || forbidden == n {
			return "", errors.New("the questions tell nothing apart")
		}
		return fmt.Sprintf("%d of %d forbidden, %x", forbidden, n, hash.Sum(nil)[:8]), nil
	}
	return c
}

// checks asks the questions in turn, in steps that go round all of them and
// make each short part of the round a sample of the whole.
func checks(name string, kind role, n int, ask func(i int) (bool, error)) contestant {
	step := max(257%n, 1) // a prime, so that hardly any n has a divisor in common with it
	asked := 0
	return contestant{
		Name: name, Role: kind,
		Answer: func() (string, error) {
			allowed, hash := 0, sha256.New()
			for i := range n {
				yes, err := ask(i)
				if err != nil {
					return "", err
				}
				if yes {
					allowed++
				}
				_, _ = fmt.Fprintf(hash, "%v", yes)
			}
			if allowed == 0 {
				return "", errors.New("nothing is allowed")
			}
			return fmt.Sprintf("%d of %d allowed, %x", allowed, n, hash.Sum(nil)[:8]), nil
		},
		Run: func(runs int) error {
			for range runs {
				if _, err := ask(asked); err != nil {
					return err
				}
				if asked += step; asked >= n {
					asked -= n
				}
			}
			return nil
		},
	}
}
