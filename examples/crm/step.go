package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
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
	OK      bool         `json:"ok"`
	Seconds float64      `json:"seconds"`
	Steps   []stepReport `json:"steps"`
}

type stepReport struct {
	Name    string         `json:"name"`
	OK      bool           `json:"ok"`
	Seconds float64        `json:"seconds"`
	Figures map[string]int `json:"figures"`
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
	c.all = map[string]map[string]int{}
	result := report{OK: true}
	for i, st := range all {
		c.out.heading(i+1, len(all), st.title, st.risk)
		c.figures = map[string]int{}
		c.all[st.name] = c.figures
		started := time.Now()
		err = st.run(ctx, c)
		took := time.Since(started)
		result.Steps = append(result.Steps, stepReport{Name: st.name, OK: err == nil, Seconds: took.Seconds(), Figures: c.figures})
		if err != nil {
			err = nameStep(st.name, err)
			result.OK = false
			break
		}
		c.out.done(took)
	}
	result.Seconds = time.Since(began).Seconds()
	return errors.Join(err, writeReport(c.dir, result))
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
