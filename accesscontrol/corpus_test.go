package accesscontrol

import (
	"archive/tar"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/cedar-policy/cedar-go"
	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/accesscontrol/internal/cedarx"
	"github.com/crmguard/crmguard/accesscontrol/internal/sqlcond"
)

// corpusCase is one file of Cedar's own corpus: policies, entities and
// requests with the decision, the reasons and the errors that Cedar gives.
type corpusCase struct {
	Schema         string `json:"schema"`
	Policies       string `json:"policies"`
	ShouldValidate bool   `json:"shouldValidate"`
	Entities       string `json:"entities"`
	Requests       []struct {
		Description string           `json:"description"`
		Principal   cedar.EntityUID  `json:"principal"`
		Action      cedar.EntityUID  `json:"action"`
		Resource    cedar.EntityUID  `json:"resource"`
		Context     cedar.Record     `json:"context"`
		Decision    cedar.Decision   `json:"decision"`
		Reasons     []cedar.PolicyID `json:"reason"`
		Errors      []cedar.PolicyID `json:"errors"`
	} `json:"requests"`
}

// corpus unpacks the archive that comes with the cedar-go module.
func corpus(t *testing.T) map[string][]byte {
	t.Helper()
	dir, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}}", "github.com/cedar-policy/cedar-go").Output()
	if err != nil {
		t.Skip("SKIPPED: the go command does not find the cedar-go module")
	}
	file, err := os.Open(filepath.Join(strings.TrimSpace(string(dir)), "corpus-tests.tar.gz"))
	if errors.Is(err, os.ErrNotExist) {
		t.Skip("SKIPPED: the cedar-go module holds no corpus")
	}
	require.NoError(t, err)
	defer file.Close()
	unzipped, err := gzip.NewReader(file)
	require.NoError(t, err)
	out := map[string][]byte{}
	for archive := tar.NewReader(unzipped); ; {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return out
		}
		require.NoError(t, err)
		if header.Typeflag == tar.TypeReg {
			out[header.Name], err = io.ReadAll(archive)
			require.NoError(t, err)
		}
	}
}

// The index and the residual give what Cedar gives, on what passes strict
// validation of Cedar's own corpus: decision, reasons and errors. With the race
// detector or -short, a tenth.
func TestCedarCorpus(t *testing.T) {
	files := corpus(t)
	step := 1
	if testing.Short() || raceEnabled {
		step = 10
	}
	names := []string{}
	for name := range files {
		if strings.HasSuffix(name, ".json") && !strings.HasSuffix(name, ".entities.json") {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	cases, requests, strict, invalid := 0, 0, 0, 0
	for i, name := range names {
		if i%step != 0 {
			continue
		}
		var c corpusCase
		require.NoError(t, json.Unmarshal(files[name], &c), name)
		var entities cedar.EntityMap
		require.NoError(t, json.Unmarshal(files[c.Entities], &entities), name)
		policies, err := cedarx.Parse(c.Policies, files[c.Policies])
		require.NoError(t, err, name)
		for n, p := range policies {
			p.ID = "policy" + strconv.Itoa(n) // as the corpus names them
		}
		schema, err := cedarx.ParseSchema(c.Schema, files[c.Schema])
		require.NoError(t, err, name)
		valid := !slices.ContainsFunc(policies, func(p *cedarx.Policy) bool { return len(schema.Validate(p)) > 0 })
		if valid {
			strict++
			require.True(t, c.ShouldValidate, "%s: strict validation passes what Cedar refuses", name)
		} else {
			invalid++
		}
		rules := newRuleset(policies)
		cases++
		if len(c.Requests) > 0 && !valid { // nothing that Load takes
			continue
		}
		for _, request := range c.Requests {
			requests++
			d := ofCorpus(t, schema, rules, entities, request.Principal, request.Action, request.Resource, request.Context)
			require.Equal(t, request.Decision == cedar.Allow, d.allowed, "%s: %s", name, request.Description)
			require.ElementsMatch(t, request.Reasons, idsOf(d.reasons), "%s: %s", name, request.Description)
			require.ElementsMatch(t, request.Errors, idsOf(d.failed), "%s: %s", name, request.Description)
		}
	}
	require.Greater(t, requests, 4000)
	t.Logf("%d files, %d requests, 0 differences; %d pass strict validation, %d do not", cases, requests, strict, invalid)
}

// verdict is what Cedar says.
type verdict struct {
	allowed         bool
	reasons, failed []string
}

// ofCorpus answers a request from the residual of its resource, an entity with
// parents and tags, of which the principal brings along all others.
func ofCorpus(t *testing.T, schema *cedarx.Schema, rules *ruleset, entities cedar.EntityMap, principal, action, resource cedar.EntityUID, context cedar.Record) (v verdict) {
	t.Helper()
	bound := &table{kind: resource.Type, attrs: schema.Entities[resource.Type]}
	bound.place()
	s := &snapshot{schema: schema, rules: rules}
	known := schema.Actions[action]
	known.UID = action
	r, err := s.residual(&question{
		facts:  &facts{uid: principal, groups: closure(entities, principal), entities: entities},
		action: known, table: bound, context: context,
	})
	require.NoError(t, err)
	entity, found := entities[resource]
	entity.UID = resource
	if found {
		entity.Parents = cedar.NewEntityUIDSet(closure(entities, resource)...)
	}
	row := &sqlcond.Row{Values: make([]sqlcond.Value, bound.width), Source: entity}
	row.Values[0] = sqlcond.TextOf(string(resource.ID))
	for name, col := range bound.slots {
		if v, has := entity.Attributes.Get(cedar.String(name)); has {
			row.Values[col.Slot] = slotOf(v)
		}
	}
	permitting, unsure := split(r.permits, row)
	forbidding, failing := split(r.forbids, row)
	v = verdict{allowed: len(permitting) > 0 && len(forbidding) == 0, reasons: permitting, failed: slices.Concat(unsure, failing)}
	if len(forbidding) > 0 {
		v.reasons = forbidding
	}
	return v
}

func idsOf(texts []string) []cedar.PolicyID {
	out := make([]cedar.PolicyID, 0, len(texts))
	for _, s := range texts {
		out = append(out, cedar.PolicyID(s))
	}
	return out
}
