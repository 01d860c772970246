package audit

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/crmguard/crmguard/audit/auditlog"
)

// evidence is what the log says about openings that are gone.
type evidence struct {
	erased  map[[2]string]int64      // (tenant, surrogate) -> index of the newest erasure in the log
	pending map[[2]string]bool       // erasures that are queued with a valid tag
	lost    [][2]int64               // ranges that recover events name
	merged  map[[2]string]string     // (tenant, surrogate) -> surrogate that it was merged into
	told    []toldPrune              // what the log says went with retention, in its order
	rules   map[string][]openingRule // openings that the log says went with retention, by tenant
	jumped  [][2]int64               // of the lost ranges, those that had gone with retention when they were to be read back

	recovered bool // a question has asked for recover events
}

func newEvidence() *evidence {
	return &evidence{erased: make(map[[2]string]int64), pending: make(map[[2]string]bool), merged: make(map[[2]string]string), rules: make(map[string][]openingRule)}
}

// add takes what a leaf says; index -1 is a queued one.
func (ev *evidence) add(index int64, leaf *auditlog.Leaf) {
	switch leaf.Kind {
	case auditlog.KindErase:
		for _, s := range leaf.Persons {
			key := [2]string{leaf.Tenant, s}
			if index < 0 {
				ev.pending[key] = true
			} else {
				ev.erased[key] = index
			}
		}
	case auditlog.KindMerge:
		for _, s := range leaf.Persons {
			if s != leaf.Object.ID {
				ev.merged[[2]string{leaf.Tenant, s}] = leaf.Object.ID
			}
		}
	case auditlog.KindRecover:
		if from, to, ok := parseRange(leaf.Object.ID); ok && index >= 0 {
			ev.lost = append(ev.lost, [2]int64{from, min(to, index)})
			if leaf.Reason == retention {
				ev.jumped = append(ev.jumped, [2]int64{from, min(to, index)})
			}
		}
	case auditlog.KindPrune:
		if what, to, ok := leaf.Pruned(); ok && what == auditlog.PruneEntries && to <= index {
			ev.told = append(ev.told, toldPrune{index, to})
		}
		if rule, ok := ruleOf(index, leaf); ok {
			ev.rules[rule.tenant] = append(ev.rules[rule.tenant], rule)
		}
	}
}

// recovered is the object of a recover event: the entries read back, from the
// first to the one after the last.
func recovered(from, to int64) Object {
	return Object{Kind: "entries", ID: fmt.Sprintf("%d/%d", from, to)}
}

func parseRange(s string) (from, to int64, ok bool) {
	a, b, ok := strings.Cut(s, "/")
	from, err1 := strconv.ParseInt(a, 10, 64)
	to, err2 := strconv.ParseInt(b, 10, 64)
	return from, to, ok && err1 == nil && err2 == nil && from >= 0 && from <= to
}

func (ev *evidence) wasLost(index int64) bool {
	for _, r := range ev.lost {
		if r[0] <= index && index < r[1] {
			return true
		}
	}
	return false
}
