package liveschema

import (
	"context"
	"database/sql"
	"fmt"
	"go/format"
	"strings"

	"github.com/crmguard/crmguard/privacy/datamap"
)

// Propose writes a first map as the source of a Go package, from what the
// database says of itself: every table with its key, its tenant and creation
// columns, edges from foreign keys and from columns that are named like them,
// and categories guessed from names. Where somebody has to decide stands
// "decide:"; until then [Check] gives alarms. It reads no row.
func Propose(ctx context.Context, handle *sql.DB) (string, error) {
	s, err := readOnce(ctx, handle, nil)
	if err != nil {
		return "", err
	}
	d := newDraft(s)
	if len(d.tables) > 0 {
		if err := d.asMap().Validate(); err != nil {
			return "", fmt.Errorf("liveschema: propose: %w", err)
		}
	}
	source, err := format.Source([]byte(d.source()))
	if err != nil {
		return "", fmt.Errorf("liveschema: propose: %w", err)
	}
	return string(source), nil
}

// source writes the package.
func (d *draft) source() string {
	var b strings.Builder
	b.WriteString(`// Package privacymap is the data map of the application: where it keeps data
// about persons, and what an erasure does to it. It was proposed from the live
// schema; decide whatever says "decide:", and take these words away. What is
// nothing about persons has no Category, Purpose and Basis; of the rest
// datamap.Unclassified becomes a word of your own, such as "contact.hobby".
package privacymap

import "github.com/crmguard/crmguard/privacy/datamap"

// What the data is used for, and why that is lawful.
const (
	purpose = "" // decide: one of datamap.Purposes, such as dpv:CustomerRelationshipManagement
	basis   = "" // decide: one of datamap.Bases, such as dpv:Contract or eu-gdpr:A6-1-b
)

// Map is the data map.
func Map() *datamap.Map {
`)
	for _, text := range d.decide {
		b.WriteString("// decide: " + text + "\n")
	}
	for _, name := range d.unnamed {
		fmt.Fprintf(&b, "// decide: table %q, or one of its columns, has a name that no map can hold: rename it\n", name)
	}
	b.WriteString("return &datamap.Map{")
	if d.tenant != "" {
		fmt.Fprintf(&b, "Tenant: %q, ", d.tenant)
	}
	b.WriteString("Tables: []datamap.Table{\n")
	for _, t := range d.tables {
		t.source(&b)
	}
	b.WriteString("}}\n}\n")
	if !strings.Contains(b.String(), "Purpose: purpose") {
		b.WriteString("\nvar _ = purpose + basis\n")
	}
	return b.String()
}

// source writes one table.
func (t *draftTable) source(b *strings.Builder) {
	b.WriteString("{\n")
	for _, text := range t.decide {
		b.WriteString("// decide: " + text + "\n")
	}
	field := func(name, value string) {
		if value != "" {
			b.WriteString(name + ": " + value + ", ")
		}
	}
	text := func(s string) string {
		if s == "" {
			return ""
		}
		return fmt.Sprintf("%q", s)
	}
	field("Name", text(t.Name))
	field("Key", list(t.Key))
	field("Tenant", text(t.Tenant))
	field("Person", text(t.Person))
	field("Merged", text(t.Merged))
	field("Created", text(t.Created))
	field("Erase", action(t.Erase))
	b.WriteString("\n")
	if len(t.Edges)+len(t.pairs) > 0 {
		b.WriteString("Edges: []datamap.Edge{\n")
		for _, e := range t.Edges {
			b.WriteString("{")
			field("Columns", list(e.Columns))
			field("Table", text(e.Table))
			field("To", list(e.To))
			field("Identity", text(e.Identity))
			field("Unlink", action(e.Unlink))
			b.WriteString("}, // " + t.edges[strings.Join(e.Columns, ", ")] + "\n")
		}
		for _, pair := range t.pairs {
			b.WriteString("// " + pair + "\n")
		}
		b.WriteString("},\n")
	}
	if len(t.Columns) > 0 {
		b.WriteString("Columns: []datamap.Column{\n")
		for _, c := range t.Columns {
			b.WriteString("{")
			field("Name", text(c.Name))
			if c.Category == datamap.Unclassified {
				field("Category", "datamap.Unclassified")
			} else {
				field("Category", text(c.Category))
			}
			if c.Category != "" {
				b.WriteString("Purpose: purpose, Basis: basis, ")
			}
			field("Identity", text(c.Identity))
			field("Withhold", text(c.Withhold))
			b.WriteString("},")
			if says := t.columns[c.Name]; says != "" {
				b.WriteString(" // " + says)
			}
			b.WriteString("\n")
		}
		b.WriteString("},\n")
	}
	b.WriteString("},\n")
}

func list(names []string) string {
	if len(names) == 0 {
		return ""
	}
	return fmt.Sprintf("%#v", names)
}

func action(a datamap.Action) string {
	return map[datamap.Action]string{datamap.Delete: "datamap.Delete", datamap.Null: "datamap.Null"}[a]
}
