package main

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cedar-policy/cedar-go"
	xast "github.com/cedar-policy/cedar-go/x/exp/ast"
	"github.com/cedar-policy/cedar-go/x/exp/schema"
	"github.com/cedar-policy/cedar-go/x/exp/schema/validate"

	"github.com/crmguard/crmguard/accesscontrol"
)

// twoConfigs are two policy sets of as many policies, so that each load brings
// another one.
func twoConfigs(policies int) [2]accesscontrol.Config {
	first, second := policyConfig(policies), policyConfig(policies)
	for name, text := range second.Texts {
		second.Texts[name] = strings.ReplaceAll(text, `@id("role`, `@id("second-role`)
	}
	return [2]accesscontrol.Config{first, second}
}

func reloadContests(ctx context.Context, _ *bench) ([]contest, error) {
	const policies = 1000
	configs, asked := twoConfigs(policies), questions(policies)
	policy, err := accesscontrol.Load(ctx, configs[0])
	if err != nil {
		return nil, err
	}
	all, err := holds(policy, asked)
	if err != nil {
		return nil, err
	}
	reloads := 0
	reload := func() error {
		reloads++
		return policy.Reload(ctx, configs[reloads%2])
	}
	var set *cedar.PolicySet
	parses := 0
	parse := func() (err error) {
		parses++
		set, err = validated(configs[parses%2])
		return err
	}
	return []contest{{
		Package: "accesscontrol", What: "a reload of 1,000 policies",
		Note:   "Texts in memory, ten files and a schema; another set than the one in force, of the same meaning. cedar-go parses and validates strictly, as ours does with it. Before and after, all questions of the checks are answered by what was loaded.",
		Limits: []string{"<= 40000000 ns"},
		Contestants: []contestant{
			loads("Policy.Reload", ours, len(asked), reload, func(i int) (bool, error) { return granted(all[i].check(ctx)) }),
			loads("cedar-go, parsed and validated", peer, len(asked), parse, func(i int) (bool, error) {
				entities, request := cedarQuestion(&asked[i])
				decision, why := cedar.Authorize(set, entities, request)
				if len(why.Errors) > 0 {
					return false, errors.New("a policy could not be evaluated")
				}
				return decision == cedar.Allow, nil
			}),
		},
	}}, nil
}

func loads(name string, kind role, n int, load func() error, ask func(i int) (bool, error)) contestant {
	c := checks(name, kind, n, ask)
	answer := c.Answer
	c.Answer = func() (string, error) {
		if err := load(); err != nil {
			return "", err
		}
		return answer()
	}
	c.Run = func(n int) error {
		for range n {
			if err := load(); err != nil {
				return err
			}
		}
		return nil
	}
	return c
}

// validated is what cedar-go makes of the texts.
func validated(config accesscontrol.Config) (*cedar.PolicySet, error) {
	var source schema.Schema
	if err := source.UnmarshalCedar([]byte(config.Texts["crm.cedarschema"])); err != nil {
		return nil, err
	}
	resolved, err := source.Resolve()
	if err != nil {
		return nil, err
	}
	validator, set := validate.New(resolved, validate.WithStrict()), cedar.NewPolicySet()
	for name, text := range config.Texts {
		if !strings.HasSuffix(name, ".cedar") {
			continue
		}
		list, err := cedar.NewPolicyListFromBytes(name, []byte(text))
		if err != nil {
			return nil, err
		}
		for i, p := range list {
			id := fmt.Sprint(name, i)
			if err := validator.Policy(id, (*xast.Policy)(p.AST())); err != nil {
				return nil, err
			}
			set.Add(cedar.PolicyID(id), p)
		}
	}
	return set, nil
}

func reloadCounts(ctx context.Context, p *bench) ([]count, error) {
	reloads := 200
	if p.small {
		reloads = 3
	}
	return []count{{
		Package: "accesscontrol", What: fmt.Sprintf("what readers notice of %d reloads of 1,000 policies", reloads),
		Note: "One reader asks the questions of the checks without a pause, while reloads follow each other. Go's profile of blocking, with each event in it, tells how often a check waited for a lock or a channel. Times are of single checks, by the wall: on a machine whose cores are busy, the longest is that of the scheduler and of the garbage collector.",
		Take: func() ([]taken, error) { return readersDuring(ctx, reloads) },
	}}, nil
}

// A reading is what one reader saw, while it was told to go on.
type reading struct {
	going   atomic.Bool
	current atomic.Int64 // the number of the reload at hand, 0 between reloads
	times   []float64    // of the checks that were begun and finished within one reload, in nanoseconds
}

func (r *reading) read(ctx context.Context, all []held) error {
	for i := 0; r.going.Load(); i++ {
		reload, begun := r.current.Load(), time.Now()
		_, err := granted(all[i%len(all)].check(ctx))
		took := time.Since(begun)
		if err != nil {
			return err
		}
		if reload != 0 && r.current.Load() == reload {
			r.times = append(r.times, float64(took))
		}
	}
	return nil
}

func readersDuring(ctx context.Context, reloads int) ([]taken, error) {
	configs := twoConfigs(1000)
	policy, err := accesscontrol.Load(ctx, configs[0])
	if err != nil {
		return nil, err
	}
	all, err := holds(policy, questions(1000))
	if err != nil {
		return nil, err
	}
	runtime.SetBlockProfileRate(1) // every event
	defer runtime.SetBlockProfileRate(0)
	before := waits()
	var r reading
	var reader sync.WaitGroup
	var failed error
	r.going.Store(true)
	reader.Go(func() { failed = r.read(ctx, all) })
	err = r.during(ctx, policy, configs, reloads)
	r.going.Store(false)
	reader.Wait()
	if err := errors.Join(err, failed); err != nil {
		return nil, err
	}
	if len(r.times) == 0 {
		return nil, errors.New("no check was finished within a reload")
	}
	slices.Sort(r.times)
	return []taken{
		{Name: "checks that waited", Value: float64(waits() - before), Unit: "times", Must: "<= 0 times"},
		{Name: "checks begun and finished within a reload, on average", Value: float64(len(r.times)) / float64(reloads), Unit: "checks"},
		{Name: "half of them took at most", Value: quantile(r.times, 0.5), Unit: "ns"},
		{Name: "999 of 1,000 took at most", Value: quantile(r.times, 0.999), Unit: "ns"},
		{Name: "the longest took", Value: r.times[len(r.times)-1], Unit: "ns"},
	}, nil
}

// during numbers the reloads.
func (r *reading) during(ctx context.Context, policy *accesscontrol.Policy, configs [2]accesscontrol.Config, reloads int) error {
	for i := range reloads {
		r.current.Store(int64(i + 1))
		err := policy.Reload(ctx, configs[(i+1)%2])
		r.current.Store(0)
		if err != nil {
			return err
		}
	}
	return nil
}

// waits is how often a check has been kept waiting by another goroutine, since the
// profile was switched on.
func waits() (times int64) {
	records := make([]runtime.BlockProfileRecord, 1000)
	n, ok := runtime.BlockProfile(records)
	for !ok {
		records = make([]runtime.BlockProfileRecord, 2*n)
		n, ok = runtime.BlockProfile(records)
	}
	for _, r := range records[:n] {
		for frames, more := runtime.CallersFrames(r.Stack()), true; more; {
			var frame runtime.Frame
			if frame, more = frames.Next(); strings.HasSuffix(frame.Function, "accesscontrol.(*Actor).Check") {
				times += r.Count
				break
			}
		}
	}
	return times
}
