package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"time"
)

// step is one promise: what is done, which risk it answers, and the check
// that it holds. A step that fails ends the tour.
type step struct {
	name  string // in report.json
	title string
	risk  string
	run   func(ctx context.Context, c *crm) error
}

// steps is the tour in its order.
func steps() []step {
	return []step{
		{"import", "Import and validate", "bad data poisons everything that is built on it", importContacts},
		{"seal", "Seal", "a copied database gives away the customers", sealedScan},
		{"find", "Find by e-mail", "what is sealed can no longer be found", findByEmail},
		{"filter", "Who sees what", "someone sees what is not theirs", whoSeesWhat},
		{"work", "Work", "nobody can say who changed what", work},
		{"tamper", "Tamper", "data or log are changed behind the application's back", tamper},
		{"rotation", "Rotate the keys", "a key that never changes is a key that has leaked", rotate},
		{"backup", "Back up", "the only copy is lost, or the backup does not restore", backUp},
		{"erasure", "Give and forget", "a person asks for their data, or to be forgotten", giveAndForget},
		{"disaster", "Disaster", "everything is lost, and the backup brings the forgotten back", disaster},
		{"search", "Search for ghosts", "a copy of the forgotten person is left somewhere", searchForGhosts},
		{"promise", "Promise and posture", "nobody can check any of this", promise},
	}
}

// promiseError is why a step failed.
type promiseError struct{ step, expected, found string }

func (b *promiseError) Error() string {
	return fmt.Sprintf("step %s: expected %s, found %s", b.step, b.expected, b.found)
}

// expect compares a figure with what it must be.
func expect[T any](what string, want, got T) error {
	if reflect.DeepEqual(want, got) {
		return nil
	}
	return &promiseError{expected: fmt.Sprintf("%s: %v", what, want), found: fmt.Sprint(got)}
}

// expectThat is for what no single figure says.
func expectThat(holds bool, expected, found string, args ...any) error {
	if holds {
		return nil
	}
	return &promiseError{expected: expected, found: fmt.Sprintf(found, args...)}
}

// report is report.json.
type report struct {
	OK       bool         `json:"ok"` // no step failed
	Seconds  float64      `json:"seconds"`
	Shown    int          `json:"steps_shown"`
	NotShown int          `json:"steps_not_shown"` // neither held nor failed
	Steps    []stepReport `json:"steps"`
}

// outcome is what became of a step.
type outcome string

const (
	holds        outcome = "holds"
	holdsInPart  outcome = "holds in part" // what could be shown holds
	couldNotShow outcome = "not shown"
	failedToHold outcome = "failed"
)

type stepReport struct {
	Name     string         `json:"name"`
	Outcome  outcome        `json:"outcome"`
	OK       bool           `json:"ok"` // what could be shown holds
	Seconds  float64        `json:"seconds"`
	Figures  map[string]int `json:"figures"`
	NotShown []notShown     `json:"not_shown,omitempty"`
}

// notShown is something that the tour could not show with the contacts at
// hand. It is neither a pass nor a failure, and is counted as neither.
type notShown struct {
	What string `json:"what"` // the step, or the step and its part
	Why  string `json:"why"`
}

// nothingShown says that the whole step has nothing to work with.
func (c *crm) nothingShown(step, why string) {
	c.missing = append(c.missing, notShown{step, why})
	c.out.say("NOT SHOWN: %s", why)
}

// partNotShown says it of a part of the step.
func (c *crm) partNotShown(step, part, why string) { c.nothingShown(step+"."+part, why) }

// outcomeOf counts a step that did not fail.
func outcomeOf(step string, missing []notShown) outcome {
	switch {
	case len(missing) == 0:
		return holds
	case slices.ContainsFunc(missing, func(m notShown) bool { return m.What == step }):
		return couldNotShow
	}
	return holdsInPart
}

// tour sets an installation up in dir and walks all steps.
func tour(ctx context.Context, s settings, dir string, out *screen) error {
	c, err := newCRM(ctx, s, dir, out)
	if err != nil {
		return err
	}
	return errors.Join(c.walk(ctx), c.close())
}

// walk takes the steps one by one and leaves report.json, also when one fails.
func (c *crm) walk(ctx context.Context) error {
	began := time.Now()
	var err error
	all := steps()
	c.all = map[string]stepReport{}
	result := report{OK: true}
	for i, st := range all {
		c.out.heading(i+1, len(all), st.title, st.risk)
		c.figures, c.missing = map[string]int{}, nil
		started := time.Now()
		stop := c.out.alive()
		err = st.run(ctx, c)
		stop()
		done := stepReport{Name: st.name, Outcome: outcomeOf(st.name, c.missing), OK: err == nil, Seconds: time.Since(started).Seconds(), Figures: c.figures, NotShown: c.missing}
		if err != nil {
			err = nameStep(st.name, err)
			done.Outcome, result.OK = failedToHold, false
		}
		result.add(done)
		c.all[st.name] = done
		if err != nil {
			break
		}
		c.out.done(done.Outcome, time.Since(started))
	}
	result.Seconds = time.Since(began).Seconds()
	if err == nil {
		c.out.summary(result)
	}
	return errors.Join(err, writeReport(c.dir, result))
}

func (r *report) add(done stepReport) {
	r.Steps = append(r.Steps, done)
	switch done.Outcome {
	case holds, holdsInPart:
		r.Shown++
	case couldNotShow:
		r.NotShown++
	case failedToHold:
	}
}

// nameStep turns any error into a broken promise of the step.
func nameStep(name string, err error) error {
	if broken, ok := errors.AsType[*promiseError](err); ok {
		broken.step = name
		return err
	}
	return &promiseError{step: name, expected: "no error", found: err.Error()}
}

func writeReport(dir string, r report) error {
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "report.json"), append(text, '\n'), 0o600)
}
