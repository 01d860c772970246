package main

import (
	"context"
	"fmt"
	"iter"
	"strings"

	"github.com/crmguard/crmguard/encryption"
)

// activityWriter seals a note: under the person's key, or under the key of
// the record where it is about several.
func (c *crm) activityWriter(ctx context.Context, about []*person) (keyOwner string, w *encryption.Writer, err error) {
	if len(about) == 1 {
		w, err = c.activities.Writer(ctx, tenant, about[0].id)
		return about[0].id, w, err
	}
	if keyOwner, err = encryption.NewRecordOwner(); err != nil {
		return "", nil, err
	}
	w, err = c.activities.RecordWriter(ctx, tenant, keyOwner)
	return keyOwner, w, err
}

func streamRef(owner, id string) encryption.StreamRef {
	return encryption.StreamRef{Tenant: tenant, Owner: owner, Column: "file", Row: id}
}

// chooseWhoLeaves picks the person who will ask to be forgotten: one whose
// e-mail, phone, street and user name are long enough to be searched and
// stand in no other record, so that nothing found later can be excused.
func (c *crm) chooseWhoLeaves() {
	counted := map[string]int{}
	for _, p := range c.people {
		for _, value := range p.values {
			counted[value]++
		}
	}
	for i, p := range c.people {
		qualifies := i%10 == 0 // has a deal or note and an attachment
		for _, name := range []string{"email", "phone", "street", "username"} {
			qualifies = qualifies && len(p.values[name]) >= shortest && counted[p.values[name]] == 1
		}
		if qualifies && i > len(c.people)/3 {
			c.gone, c.partner = p, c.people[i-1]
			return
		}
	}
	c.gone, c.partner = c.people[len(c.people)-1], c.people[0]
}

// sealedValues yields what was sealed of a person: each field, the custom
// fields together and one by one, and what a field held before it changed.
func (p *person) sealedValues() iter.Seq2[string, string] {
	return func(yield func(name, value string) bool) {
		for name, value := range p.values {
			if !clearField(name) && !yield(name, value) {
				return
			}
		}
		for name, value := range p.custom {
			if !yield("custom "+name, value) {
				return
			}
		}
		for i, value := range p.former {
			if !yield(fmt.Sprintf("former value %d", i+1), value) {
				return
			}
		}
	}
}

// uniqueValues are the values of at least 8 bytes of a person that stand in no
// other accepted record, not even as a part of a longer value.
func (c *crm) uniqueValues(p *person) map[string]string {
	var others strings.Builder
	for _, other := range c.people {
		if other == p {
			continue
		}
		for _, value := range other.sealedValues() {
			others.WriteString(value + "\x00")
		}
		for _, text := range other.texts {
			others.WriteString(text + "\x00")
		}
	}
	everyoneElse := others.String()
	out := map[string]string{}
	for name, value := range p.sealedValues() {
		if len(value) >= shortest && !strings.Contains(everyoneElse, value) {
			out[name] = value
		}
	}
	return out
}
