package main

import (
	"strings"
	"sync"
)

// plans are those by which a server has carried out what it was asked.
type plans struct {
	mu   sync.Mutex
	seen []string // in JSON
}

// note keeps what a server told, if it is a plan.
func (p *plans) note(message string) {
	if !strings.Contains(message, `"Query Text"`) {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.seen = append(p.seen, message)
}

func (p *plans) forget() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.seen = nil
}

// count counts the pages of large tables, and in their plans what sorts or reads a
// table from its beginning.
func (p *plans) count() (pages, bad int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, plan := range p.seen {
		if !strings.Contains(plan, "people_") || !strings.Contains(plan, " LIMIT ") {
			continue
		}
		pages++
		for _, node := range []string{"Sort", "Incremental Sort", "Seq Scan"} {
			bad += strings.Count(plan, `"Node Type": "`+node+`"`)
		}
	}
	return pages, bad
}
