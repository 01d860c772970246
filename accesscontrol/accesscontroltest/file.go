package accesscontroltest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"testing"

	"github.com/crmguard/crmguard/accesscontrol"
)

// Suffix ends the name of a file of tests.
const Suffix = ".cedartest"

// Run asks policy what the *.cedartest files of fsys ask, sub-folders included,
// each test in a subtest of the file's and its own name. One that fails prints
// the decision and the permit that came nearest. No file, a file without a test,
// and one that cannot be read whole fail.
//
// A file is JSON. Principals and records have names, by which the tests speak of
// them; where they leave out id or tenant, the id is the name, and the tenant is
// that of the file:
//
//	{
//	  "tenant": "main",
//	  "principals": {"ann": {"parents": [{"type": "Role", "id": "sales"}], "attrs": {"accounts": []}}},
//	  "resources": {"c1": {"type": "contact", "attrs": {"owner": "ann"}}},
//	  "tests": [
//	    {"principal": "ann", "action": "contact.read", "resource": "c1", "allowed": true, "policies": ["sales-own"]},
//	    {"principal": "ann", "action": "contact.delete", "resource": "c1", "allowed": false, "reason": "not_permitted"}
//	  ]
//	}
//
// The members of a principal and a record are the fields of
// [accesscontrol.Principal] and [accesscontrol.Resource]; a member that nothing
// knows is a fault. Policies and reason are compared where they stand.
func Run(t *testing.T, policy *accesscontrol.Policy, fsys fs.FS) {
	t.Helper()
	names, err := testFiles(fsys)
	if err != nil {
		t.Fatalf("accesscontroltest: %v", err)
	}
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			text, err := fs.ReadFile(fsys, name)
			if err != nil {
				t.Fatalf("accesscontroltest: %v", err)
			}
			cases, err := parse(text)
			if err != nil {
				t.Fatalf("accesscontroltest: %s: %v", name, err)
			}
			for _, c := range cases {
				t.Run(c.Name, func(t *testing.T) {
					d, err := policy.Decide(t.Context(), c.request)
					if fault := c.verdict(d, err); fault != "" {
						t.Error(fault)
					}
				})
			}
		})
	}
}

// testFiles lists the files of tests, of which there is one at least.
func testFiles(fsys fs.FS) (names []string, err error) {
	err = fs.WalkDir(fsys, ".", func(path string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() && strings.HasSuffix(path, Suffix) {
			names = append(names, path)
		}
		return err
	})
	if err == nil && len(names) == 0 {
		err = errors.New("there is no " + Suffix + " file: nothing would be tested")
	}
	return names, err
}

// file is a file of tests.
type file struct {
	Tenant     string
	Principals map[string]accesscontrol.Principal
	Resources  map[string]accesscontrol.Resource
	Tests      []testCase
}

// testCase is one question with what is expected.
type testCase struct {
	Name                        string
	Principal, Action, Resource string
	Allowed                     *bool
	Policies                    *[]string
	Reason                      accesscontrol.Reason

	request accesscontrol.Request
}

func parse(text []byte) ([]testCase, error) {
	var f file
	in := json.NewDecoder(bytes.NewReader(text))
	in.DisallowUnknownFields()
	in.UseNumber() // an integer of 64 bits keeps its digits
	if err := in.Decode(&f); err != nil {
		return nil, err
	}
	if _, err := in.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("something stands behind the closing brace")
	}
	if len(f.Tests) == 0 {
		return nil, errors.New("there is no test in it")
	}
	for i := range f.Tests {
		c := &f.Tests[i]
		who, known := f.Principals[c.Principal]
		if !known {
			return nil, fmt.Errorf("test %d: principals have no %q", i, c.Principal)
		}
		record, known := f.Resources[c.Resource]
		if !known {
			return nil, fmt.Errorf("test %d: resources have no %q", i, c.Resource)
		}
		if c.Allowed == nil {
			return nil, fmt.Errorf("test %d: allowed is missing: say true or false", i)
		}
		who.ID, record.ID = either(who.ID, c.Principal), either(record.ID, c.Resource)
		who.Tenant, record.Tenant = either(who.Tenant, f.Tenant), either(record.Tenant, f.Tenant)
		c.request = accesscontrol.Request{Principal: who, Action: c.Action, Resource: record}
		c.Name = either(c.Name, c.Principal+" "+c.Action+" "+c.Resource)
	}
	return f.Tests, nil
}

func either(first, second string) string {
	if first != "" {
		return first
	}
	return second
}

// verdict is empty, or says what is not as expected.
func (c *testCase) verdict(d accesscontrol.Decision, err error) string {
	if err != nil {
		return fmt.Sprintf("%s on %s for %s: cannot be answered: %v", c.Action, c.Resource, c.Principal, err)
	}
	var faults []string
	if d.Allowed != *c.Allowed {
		faults = append(faults, "want "+answer(*c.Allowed))
	}
	if c.Policies != nil {
		want := slices.Sorted(slices.Values(*c.Policies))
		if !slices.Equal(want, d.Policies) {
			faults = append(faults, fmt.Sprintf("want the policies %q", want))
		}
	}
	if c.Reason != "" && c.Reason != d.Reason {
		faults = append(faults, "want the reason "+string(c.Reason))
	}
	if len(faults) == 0 {
		return ""
	}
	return fmt.Sprintf("%s on %s for %s: %s; %s", c.Action, c.Resource, c.Principal, described(d), strings.Join(faults, ", "))
}

func answer(allowed bool) string {
	if allowed {
		return "allowed"
	}
	return "denied"
}

// described is a decision in words.
func described(d accesscontrol.Decision) string {
	out := answer(d.Allowed)
	if d.Reason != "" {
		out += ": " + string(d.Reason)
	}
	if len(d.Policies) > 0 {
		out += " by " + strings.Join(d.Policies, ", ")
	}
	if len(d.Failed) > 0 {
		out += ", failing " + strings.Join(d.Failed, ", ")
	}
	if d.Nearest.Policy != "" {
		out += ", nearest permit " + d.Nearest.Policy
	}
	if d.Nearest.Condition != "" {
		out += " needs " + d.Nearest.Condition
	}
	return out
}
