package adoption_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/encryption/adoption"
	"github.com/crmguard/crmguard/internal/testdb"
)

// cutEnv is an application whose connection to its database may end at a chosen
// call.
func cutEnv(t *testing.T) (e *env, cutter *testdb.Cutter, want map[string]string) {
	t.Helper()
	d := testdb.New(t, testdb.SQLite)
	db, cutter := d.Cutting(t, d.Name.Drivers()[0])
	e = newEnvOn(t, d.Name, db, contactsDef, emailColumn, contactsSQL)
	want = map[string]string{}
	for i := range killRows {
		id, value := fmt.Sprintf("r%02d", i), fmt.Sprintf("v%d@b.example", i)
		e.old(t, id, fmt.Sprintf("p%d", i%5), value)
		want[id] = value
	}
	e.prepare(t)
	return e, cutter, want
}

// The connection ends at one call after the other, there and back: whoever
// operates is told, or it was done again without a word, every value is read at
// once, and the next call goes on.
func TestAConnectionThatEndsAnywhereLosesNothing(t *testing.T) {
	e, cutter, want := cutEnv(t)
	for n := 1; ; n += 17 {
		cutter.Arm(n, false)
		err := operate(t.Context(), e, false)
		cut := cutter.Disarm()
		require.Equal(t, want, e.read(t, e.a), "after call %d", n)
		if !cut {
			require.NoError(t, err)
			require.Greater(t, n, 100)
			return
		}
	}
}

// The same for each call that only asks: it answers an error or the truth.
func TestACallThatAsksAnswersAnErrorOrTheTruth(t *testing.T) {
	for _, stage := range []adoption.Stage{adoption.WriteBoth, adoption.SealedOnly} {
		e, cutter, _ := cutEnv(t)
		e.to(t, stage)
		for name, ask := range map[string]func(a *adoption.Adoption, ctx context.Context) (any, error){
			"Writer": func(a *adoption.Adoption, ctx context.Context) (any, error) {
				w, err := a.Writer(ctx, tenant, "p1")
				if err != nil {
					return nil, err
				}
				return w.Stage(), nil
			},
			"Stage": func(a *adoption.Adoption, ctx context.Context) (any, error) {
				stage, settled, err := a.Stage(ctx, tenant)
				return fmt.Sprint(stage, settled), err
			},
			"Status": func(a *adoption.Adoption, ctx context.Context) (any, error) {
				findings, err := a.Status(ctx, tenant)
				return levels(findings), err
			},
			"Check":      func(a *adoption.Adoption, ctx context.Context) (any, error) { return nil, a.Check(ctx, tenant) },
			"SQL":        func(a *adoption.Adoption, ctx context.Context) (any, error) { return a.SQL(ctx) },
			"RestoreSQL": func(a *adoption.Adoption, ctx context.Context) (any, error) { return a.RestoreSQL(ctx, tenant) },
			"Guard":      func(a *adoption.Adoption, ctx context.Context) (any, error) { return a.Guard(ctx) },
			"GuardSQL":   func(a *adoption.Adoption, ctx context.Context) (any, error) { return a.GuardSQL(ctx, adoption.Refuse) },
			"Lookup": func(a *adoption.Adoption, ctx context.Context) (any, error) {
				condition, err := a.Lookup(ctx, tenant, "email", "v1@b.example")
				if err != nil {
					return nil, err
				}
				where, args := condition.Where("")
				return fmt.Sprint(where, len(args)), nil
			},
			"a dry run": func(a *adoption.Adoption, ctx context.Context) (any, error) {
				report, err := a.Backfill(ctx, tenant, adoption.JobOptions{DryRun: true})
				return report.Rows, err
			},
		} {
			t.Run(fmt.Sprint(name, " at ", stage), func(t *testing.T) {
				truth, refused := ask(e.process(t), t.Context())
				for n := 1; ; n++ {
					a := e.process(t) // which remembers nothing
					cutter.Arm(n, false)
					got, err := ask(a, t.Context())
					cut := cutter.Disarm()
					if err == nil {
						require.Equal(t, truth, got, "call %d", n)
					}
					if !cut {
						require.Equal(t, refused == nil, err == nil, "%v", err)
						break
					}
				}
				ctx, stop := context.WithCancel(t.Context())
				stop()
				_, err := ask(e.process(t), ctx)
				require.Error(t, err)
			})
		}
	}
}

func levels(findings []encryption.Finding) (out []string) {
	for _, f := range findings {
		out = append(out, fmt.Sprint(f.Name, f.Level, f.Value))
	}
	return out
}
