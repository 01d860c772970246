package accesscontrol

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"regexp"
	"slices"
	"strings"

	"github.com/crmguard/crmguard/accesscontrol/internal/cedarx"
	"github.com/crmguard/crmguard/internal/frame"
)

// snapshot is one policy set with everything computed from it. It never
// changes.
type snapshot struct {
	rules   *ruleset
	schema  *cedarx.Schema
	actions map[string]cedarx.Action
	// actionEntities lets `action in` see the groups of the schema.
	actionEntities cedarx.EntityMap
	tables         map[string]*table
	// static is what every principal sees beside what it brings along.
	static hierarchy
	// contextRead are the names of context that some policy reads.
	contextRead map[string]bool
	hash        string
	config      Config
}

// policyID is what @id may look like: it goes into audit entries and reasons.
var policyID = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._:/-]{0,127}$`)

type text struct{ name, body string }

func build(ctx context.Context, config Config) (*snapshot, error) {
	policyTexts, schemaTexts, err := readTexts(ctx, config)
	if err != nil {
		return nil, err
	}
	missing := missingParts(policyTexts, schemaTexts, config.Tables)
	if len(schemaTexts) != 1 {
		return nil, &PolicyError{sortProblems(missing)}
	}
	schema, err := cedarx.ParseSchema(schemaTexts[0].name, []byte(schemaTexts[0].body))
	if err != nil {
		return nil, &PolicyError{[]Problem{syntaxProblem(schemaTexts[0].name, err)}}
	}
	s := &snapshot{schema: schema, actions: map[string]cedarx.Action{}, actionEntities: cedarx.EntityMap{}, config: config, hash: hashOf(policyTexts, schemaTexts)}
	b := &binder{schema: schema, actions: s.actions}
	for uid, action := range schema.Actions {
		for _, name := range actionNames(schema, uid) {
			if _, twice := s.actions[name]; twice {
				b.problem("action %s is the name of two: one of a namespace, and one that is called so", name)
			}
			s.actions[name] = action
		}
		s.actionEntities[uid] = cedarx.Entity{UID: uid, Parents: cedarx.Parents(action.Ancestors...)}
	}
	s.tables = b.bind(config.Tables)
	b.problems = append(b.problems, s.bindEntities(config.Entities)...)
	policies, problems := parsePolicies(policyTexts, schema)
	problems = append(append(problems, missing...), b.problems...)
	if len(b.problems) == 0 {
		problems = append(problems, s.join(policies)...)
		problems = append(problems, s.translatable(policies)...)
		for _, p := range policies {
			problems = append(problems, s.otherRecords(p)...)
		}
	}
	if len(problems) > 0 {
		return nil, &PolicyError{sortProblems(problems)}
	}
	s.rules, s.contextRead = newRuleset(policies), contextRead(policies)
	return s, nil
}

// actionNames are what an action is called in questions: its id, unless it
// stands in two namespaces, and CRM::read with its namespace.
func actionNames(schema *cedarx.Schema, uid cedarx.EntityUID) (names []string) {
	id := string(uid.ID)
	if namespace := strings.TrimSuffix(string(uid.Type), "Action"); namespace != "" {
		names = append(names, namespace+id)
	}
	for other := range schema.Actions {
		if other.ID == uid.ID && other != uid && (other.Type == "Action" || uid.Type != "Action") {
			return names
		}
	}
	return append(names, id)
}

// noAction says what is wrong with the name of an action.
func noAction(schema *cedarx.Schema, id string) string {
	var names []string
	for uid := range schema.Actions {
		if string(uid.ID) == id {
			names = append(names, actionNames(schema, uid)...)
		}
	}
	switch {
	case id == "":
		return "it is empty"
	case len(names) == 0:
		return "the schema has no such action"
	}
	return "it stands in more than one namespace: write " + slices.Min(names) + ", or which one is meant"
}

// missingParts says what a policy set cannot do without and was not given. A
// set that permits nothing is an empty .cedar text, never a forgotten one.
func missingParts(policies, schemas []text, tables []Table) (problems []Problem) {
	say := func(is bool, text string) {
		if is {
			problems = append(problems, Problem{Text: text})
		}
	}
	say(len(schemas) == 0, "there is no .cedarschema file")
	say(len(schemas) > 1, "there is more than one .cedarschema file")
	say(len(policies) == 0, "there is no .cedar file: Files and Texts hold no policy; to permit nothing, hand in an empty one")
	say(len(tables) == 0, "there is no table: Tables binds what may be asked about")
	return problems
}

// maxText bounds a file. The parser descends as deep as the text is nested,
// and a stack that overflows ends the process: a text of this size, brackets
// from end to end, does not. Larger sets are several files.
const maxText = 128 << 10

// maxDepth bounds a condition: SQLite parses 1,000 levels, and && of many
// parts is a level each.
const maxDepth = 250

// readTexts collects the texts of a config, each kind sorted by name.
func readTexts(ctx context.Context, config Config) (policies, schemas []text, err error) {
	add := func(name, body string) bool {
		switch {
		case strings.HasSuffix(name, policySuffix):
			policies = append(policies, text{name, body})
		case strings.HasSuffix(name, schemaSuffix):
			schemas = append(schemas, text{name, body})
		default:
			return false
		}
		return true
	}
	for name, body := range config.Texts {
		if !add(name, body) { // left out silently, a forbid would not forbid
			return nil, nil, &PolicyError{[]Problem{{Position: name, Text: "a text is neither .cedar nor .cedarschema"}}}
		}
	}
	if config.Files != nil {
		err = fs.WalkDir(config.Files, ".", func(path string, entry fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			if err := ctx.Err(); err != nil {
				return err
			}
			if entry.IsDir() || !strings.HasSuffix(path, policySuffix) && !strings.HasSuffix(path, schemaSuffix) {
				return nil
			}
			body, err := fs.ReadFile(config.Files, path)
			if err != nil {
				return err
			}
			add(path, string(body))
			return nil
		})
	}
	if err != nil {
		return nil, nil, &readError{err}
	}
	for _, t := range slices.Concat(policies, schemas) {
		if len(t.body) > maxText {
			return nil, nil, &PolicyError{[]Problem{{Position: t.name, Text: "the file is larger than 128 KiB; split it"}}}
		}
	}
	byName := func(a, b text) int { return strings.Compare(a.name, b.name) }
	slices.SortFunc(policies, byName)
	slices.SortFunc(schemas, byName)
	return policies, schemas, nil
}

// readError keeps the cause of files that cannot be read.
type readError struct{ err error }

func (e *readError) Error() string { return "accesscontrol: read policy files: " + e.err.Error() }

func (e *readError) Unwrap() error { return e.err }

// hashOf names a policy set: SHA-256 over LP("crmguard/policyset/v1"), then
// LP(kind) and LP(text) of each text, sorted by kind and text. File names do
// not enter, so moving a file changes nothing.
func hashOf(policies, schemas []text) string {
	var parts []string
	for _, t := range policies {
		parts = append(parts, string(frame.Join("policy", t.body)))
	}
	for _, t := range schemas {
		parts = append(parts, string(frame.Join("schema", t.body)))
	}
	slices.SortFunc(parts, compareFramed)
	sum := sha256.Sum256([]byte(string(frame.Join("crmguard/policyset/v1")) + strings.Join(parts, "")))
	return hex.EncodeToString(sum[:])
}

// compareFramed compares two LP(kind) ‖ LP(text) by kind, then by the bytes of
// the text and not by its length.
func compareFramed(a, b string) int {
	const prefix = 4 + len("policy") // both kinds have six letters
	if c := strings.Compare(a[:prefix], b[:prefix]); c != 0 {
		return c
	}
	return strings.Compare(a[prefix+4:], b[prefix+4:])
}

// position finds file:line:column of a name that a parser put into its text.
var position = regexp.MustCompile(`:\d+:\d+`)

func syntaxProblem(name string, err error) Problem {
	fault := err.Error()
	p := Problem{Position: name, Text: fault}
	if before, after, found := strings.Cut(fault, name); found {
		if at := position.FindStringIndex(after); at != nil && at[0] == 0 {
			p.Position = name + after[:at[1]]
			p.Text = strings.TrimSpace(strings.TrimSuffix(before, " at ") + strings.TrimPrefix(after[at[1]:], ":"))
		}
	}
	return p
}

func parsePolicies(texts []text, schema *cedarx.Schema) (policies []*cedarx.Policy, problems []Problem) {
	at := map[string]string{}
	for _, t := range texts {
		parsed, err := cedarx.Parse(t.name, []byte(t.body))
		if err != nil {
			problems = append(problems, syntaxProblem(t.name, err))
			continue
		}
		for _, p := range parsed {
			switch first, twice := at[p.ID]; {
			case p.ID == "":
				problems = append(problems, Problem{Position: p.Position, Text: "policy has no @id"})
			case !policyID.MatchString(p.ID):
				problems = append(problems, Problem{Position: p.Position, Text: "@id may hold letters, digits and . _ : / - only, at most 128"})
			case twice:
				problems = append(problems, Problem{Policy: p.ID, Position: p.Position, Text: "@id stands already at " + first})
			}
			if at[p.ID] == "" {
				at[p.ID] = p.Position
			}
			if p.Depth() > maxDepth {
				problems = append(problems, Problem{Policy: p.ID, Position: p.Position, Text: "a condition is nested deeper than 250 levels; a set with contains is flat"})
				continue
			}
			for _, fault := range schema.Validate(p) {
				problems = append(problems, Problem{Policy: p.ID, Position: p.Position, Text: fault})
			}
			policies = append(policies, p)
		}
	}
	return policies, problems
}

// translatable compiles each policy for each table that can be filtered, with
// everything but the resource left open. What passes here can be compiled for
// every principal.
func (s *snapshot) translatable(policies []*cedarx.Policy) (problems []Problem) {
	for _, p := range policies {
		for _, t := range s.tables {
			if t.Name == "" || !s.concerns(p, t) {
				continue
			}
			_, err := (&compiler{table: t}).policy(p)
			if err == nil && holdsNUL(p) { // perhaps in a branch that only some principals reach
				err = errNUL
			}
			if refused, is := errors.AsType[*untranslatable](err); is {
				problems = append(problems, Problem{Policy: p.ID, Position: p.Position, Text: refused.text + ", on records of type " + t.Resource})
			}
		}
	}
	return problems
}

// concerns says whether some action of the policy applies to the table.
func (s *snapshot) concerns(p *cedarx.Policy, t *table) bool {
	for _, action := range s.schema.Actions {
		if slices.Contains(action.Resources, t.kind) && inScope(p.Action, action.UID, action.Ancestors) {
			return true
		}
	}
	return false
}

func sortProblems(problems []Problem) []Problem {
	slices.SortFunc(problems, func(a, b Problem) int {
		return strings.Compare(a.Position+"\x00"+a.Policy+"\x00"+a.Text, b.Position+"\x00"+b.Policy+"\x00"+b.Text)
	})
	return slices.Compact(problems)
}
