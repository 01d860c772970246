package main

import (
	"context"
	"encoding/json"
	"hash/maphash"
	"iter"
	"maps"
	"slices"
	"strings"

	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/encryption/streams"
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

func streamRef(owner, id string) streams.Ref {
	return streams.Ref{Tenant: tenant, Owner: owner, Column: "file", Row: id}
}

// candidates is how many people are looked at closely before one is chosen.
const candidates = 12

// chooseWhoLeaves picks the person who will ask to be forgotten: the one of
// whom the most values stand in no other record, so that nothing found later
// can be excused. Where several are equal, it is one from the later part of
// the file who has a deal or note and an attachment.
func (c *crm) chooseWhoLeaves(ctx context.Context) error {
	told, err := c.tellApart(ctx, c.rarest())
	if err != nil {
		return err
	}
	best := told[0]
	for _, t := range told[1:] {
		if len(t.labels) > len(best.labels) {
			best = t
		}
	}
	c.gone = best.person
	at := slices.Index(c.people, c.gone)
	c.partner = c.people[(at+len(c.people)-1)%len(c.people)]
	return nil
}

// rarest lists the people with the most values that nobody else has, the most
// wanted first.
func (c *crm) rarest() []*person {
	seed := maphash.MakeSeed()
	counted := map[uint64]int{}
	for _, p := range c.people {
		for _, value := range p.values {
			counted[maphash.String(seed, value)]++
		}
	}
	type ranked struct {
		at, score int
	}
	all := make([]ranked, len(c.people))
	for i, p := range c.people {
		all[i].at = i
		for name, value := range p.values {
			if !clearField(name) && len(value) >= shortest && counted[maphash.String(seed, value)] == 1 {
				all[i].score += 2
			}
		}
		all[i].score += len(p.texts)
		if i > len(c.people)/3 {
			all[i].score++
		}
	}
	slices.SortStableFunc(all, func(a, b ranked) int { return b.score - a.score })
	var out []*person
	for _, r := range all[:min(candidates, len(all))] {
		out = append(out, c.people[r.at])
	}
	return out
}

// sealedValues yields what was sealed of a person: each field, the custom
// fields together and one by one, and what a field held before it changed.
func (p *person) sealedValues() iter.Seq2[string, string] {
	return func(yield func(name, value string) bool) {
		for name, value := range p.values {
			if clearField(name) {
				continue
			}
			if !yield(name, value) || name == "custom" && !eachCustom(ownColumn, value, yield) {
				return
			}
		}
		for _, was := range p.former {
			label := "former value of the tour"
			if was.fromFile {
				label = "former " + was.field
			}
			if !yield(label, was.value) || !eachCustom("former "+ownColumn, was.value, yield) {
				return
			}
		}
	}
}

// ownColumn labels the value of a column that nobody knew.
const ownColumn = "column of its own"

// eachCustom yields the values of the columns that nobody knew, where text is
// the JSON object of them. Their headings may be data and are not named.
func eachCustom(label, text string, yield func(name, value string) bool) bool {
	if !strings.HasPrefix(text, "{") {
		return true
	}
	var fields map[string]string
	if json.Unmarshal([]byte(text), &fields) != nil {
		return true
	}
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		if !yield(label, fields[name]) {
			return false
		}
	}
	return true
}
