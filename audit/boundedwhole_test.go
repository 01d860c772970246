package audit_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/audit"
)

// Whoever asks about a person, or for an event, is not given more of any column than
// it can have, either; nor is whoever counts what waits or erases.
func TestNoQuestionTakesMoreMemoryThanItsAnswerCanHave(t *testing.T) {
	for name, edit := range map[string]string{
		"a surrogate":             `UPDATE crmguard_audit_surrogates SET surrogate = CAST(surrogate || zeroblob(?1) AS BLOB) WHERE person = 'p1'`,
		"whom it was merged into": `UPDATE crmguard_audit_surrogates SET into_surrogate = CAST(surrogate || zeroblob(?1) AS BLOB) WHERE person = 'p1'`,
		"one who was merged":      `UPDATE crmguard_audit_surrogates SET surrogate = CAST(surrogate || zeroblob(?1) AS BLOB) WHERE into_surrogate IS NOT NULL`,
		"a head":                  `UPDATE crmguard_audit_surrogates SET head = CAST(head || zeroblob(?1) AS BLOB) WHERE person = 'p1'`,
		"a tag":                   `UPDATE crmguard_audit_surrogates SET tag = CAST(tag || zeroblob(?1) AS BLOB) WHERE person = 'p1'`,
		"the tenant's own head":   `UPDATE crmguard_audit_surrogates SET head = CAST(head || zeroblob(?1) AS BLOB) WHERE person = ''`,
		"an owner":                `UPDATE crmguard_audit_openings SET owner = CAST(owner || zeroblob(?1) AS BLOB) WHERE idx = 1`,
		"a state's tag":           `UPDATE crmguard_audit_state SET tag = CAST(tag || zeroblob(?1) AS BLOB)`,
		"a state's root":          `UPDATE crmguard_audit_state SET root = CAST(root || zeroblob(?1) AS BLOB)`,
		"the id of what waits":    `UPDATE crmguard_audit_events SET id = CAST(id || zeroblob(?1) AS BLOB) WHERE idx IS NULL`,
		"a row that waits":        `UPDATE crmguard_audit_events SET body = CAST(body || zeroblob(12 * ?1) AS BLOB) WHERE idx IS NULL`,
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			ids := b.fill(5)
			require.NoError(t, b.trail.Merge(t.Context(), "main", "p0", "p1"))
			b.run()
			last := b.record(update("p1", 9))
			size, most := 16<<20, uint64(12<<20)
			if name == "a row that waits" { // of which 33 MB are one
				most *= 12
			}
			b.exec(edit, size)
			for what, ask := range map[string]func(){
				"all":         func() { _, _ = b.trail.Find(t.Context(), audit.Filter{Tenant: "main"}, audit.Page{}) },
				"a person":    func() { _, _ = b.trail.Find(t.Context(), audit.Filter{Tenant: "main", Person: "p1"}, audit.Page{}) },
				"Event":       func() { _, _ = b.trail.Event(t.Context(), ids[1]) },
				"one waiting": func() { _, _ = b.trail.Event(t.Context(), last) },
				"Left":        func() { _, _ = b.trail.Left(t.Context(), "main", "p1") },
				"Status":      func() { _, _ = b.trail.Status(t.Context()) },
				"Prepare":     func() { _ = b.beside(nil).Prepare(t.Context(), "main", "p1") },
				"VerifyStore": func() { _, _ = b.trail.VerifyStore(t.Context(), nil) },
			} {
				require.Less(t, allocated(ask), most, what)
			}
			require.Less(t, allocated(func() { _ = b.trail.Erase(t.Context(), "main", "p1") }), 2*most, "Erase, for each surrogate")
			require.Less(t, allocated(func() { _, _ = b.trail.RunOnce(t.Context()) }), most, "RunOnce")
		})
	}
}

// The openings of a page are read up to where one is too long, too.
func TestAPageTakesNoMoreOfAnOpening(t *testing.T) {
	b := newBench(t)
	b.fill(2)
	b.run()
	b.exec(`UPDATE crmguard_audit_openings SET sealed = CAST(sealed || zeroblob(?) AS BLOB) WHERE idx = 1`, 192<<20)
	require.Less(t, allocated(func() {
		_, err := b.trail.Find(t.Context(), audit.Filter{Tenant: "main"}, audit.Page{})
		require.NoError(t, err)
	}), uint64(160<<20))
}
