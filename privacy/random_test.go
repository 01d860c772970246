package privacy_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/crmguard/crmguard/internal/testdb"
	"github.com/crmguard/crmguard/privacy"
	"github.com/crmguard/crmguard/privacy/certificate"
	"github.com/crmguard/crmguard/privacy/internal/randomschema"
	"github.com/crmguard/crmguard/privacy/internal/wholedb"
)

// On schemas that nobody thought of: persons are erased, with those merged into
// them, while processes end, copies are taken and a second process does the same
// at any moment. After Done, and again after the restore of a copy of any of those
// moments, and of one table, and a replay, nothing of them is anywhere, what is
// kept is there and on the certificate, and rows of others are as they were. A
// longer walk is CRMGUARD_RANDOM_ROUNDS=1000.
func TestTheWholeJobOnRandomSchemas(t *testing.T) {
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		require.NoError(t, privacy.Install(t.Context(), d.Open(t)))
		randomschema.Walk(t, d, 8, randomschema.Options{Undated: true}, func(rt *rapid.T, c *randomschema.Case, db wholedb.DB) {
			begin := db.Backup(t)
			defer db.Restore(t, begin) // with the desk's own tables, for the next case
			newJob(t, rt, c, db).run()
		})
	})
}

// run erases, restores and replays.
func (j *job) run() {
	t, rt := j.t, j.rt
	first := j.db.Backup(t)
	for range rapid.IntRange(1, 3).Draw(rt, "erasures") {
		group := j.c.Group(j.draw(len(j.c.People), "erased"))
		if !slices.ContainsFunc(group, j.isErased) {
			j.erase(group)
		}
	}
	again, err := j.desk.EraseMany(t.Context(), j.plans)
	require.NoError(rt, err)
	for i, o := range again {
		require.Equal(rt, privacy.Done, o.State)
		require.Equal(rt, j.certificates[i], o.Certificate, "there is one")
	}
	j.check("after Done")

	states := append([]*wholedb.State{first}, j.copies...)
	for range rapid.IntRange(1, 2).Draw(rt, "restores") {
		j.restore(states[j.draw(len(states), "restored to")])
		if j.interrupted(func() error { _, err := j.desk.Replay(t.Context()); return err }) && j.yes("another restore instead") {
			j.restore(states[j.draw(len(states), "restored to instead")])
		}
		j.replay()
		j.check("after the replay")
	}
	named := j.c.Named()
	for _, table := range named[j.draw(len(named), "one table")] {
		j.db.RestoreTable(t, first, table)
	}
	j.replay()
	j.check("after one table had come back")
	r, err := j.desk.Replay(t.Context())
	require.NoError(rt, err)
	require.Zero(rt, r.Erased, "nothing came back")
}

// erase erases a group of merged persons, whatever comes between.
func (j *job) erase(group []int) {
	t, rt := j.t, j.rt
	person := j.c.People[group[j.draw(len(group), "who of them")]]
	tenant := fmt.Sprint(person.Tenant)
	needles := j.c.Needles(slices.Concat(group, j.erased)...)
	before := j.rows()
	plan, err := j.desk.PlanErasure(t.Context(), privacy.Request{Tenant: tenant, Person: person.ID, Reason: "gdpr-17", By: "user/1"})
	require.NoError(rt, err)
	require.Len(rt, plan.Aliases, len(group)-1)
	require.NoError(rt, j.desk.Approve(t.Context(), plan.ID, "user/2"))
	if j.yes("held") {
		hold, err := j.desk.Hold(t.Context(), privacy.LegalHold{Tenant: tenant, Person: person.ID, Because: "litigation", By: "user/3"})
		require.NoError(rt, err)
		o, err := j.desk.Execute(t.Context(), plan.ID)
		require.NoError(rt, err)
		require.Equal(rt, privacy.Held, o.State)
		require.Equal(rt, before, j.rows(), "a hold keeps everything")
		require.NoError(rt, j.desk.Lift(t.Context(), tenant, hold, "user/3"))
	}
	j.arm(24)
	o := j.execute(plan.ID)
	j.disarm()
	j.erased, j.plans, j.certificates = append(j.erased, group...), append(j.plans, plan.ID), append(j.certificates, o.Certificate)
	require.Empty(rt, j.db.Search(t, needles), "left after Done")
	j.certified(o, group, before)
}

// execute executes until the erasure is done.
func (j *job) execute(plan string) (o privacy.Outcome) {
	j.plan = plan
	for range 12 {
		if j.interrupted(func() (err error) { o, err = j.desk.Execute(j.t.Context(), plan); return err }) {
			continue
		}
		switch o.State {
		case privacy.Done:
			return o
		case privacy.Waiting:
			j.now = j.now.Add(5 * time.Second)
		default:
			require.Equal(j.rt, privacy.Partial, o.State)
			require.True(j.rt, j.failed, "%+v", o.Stores)
			j.failed = false
		}
	}
	j.rt.Fatalf("not done: %+v", o)
	return o
}

// restore puts the database back to an earlier state. Who is there again shuts the
// gate.
func (j *job) restore(s *wholedb.State) {
	j.db.Restore(j.t, s)
	j.plan = ""
	for _, n := range j.erased { // by what is in neither store nobody finds the letter of an earlier restore
		if !j.c.Knows(j.t, j.db, n) {
			j.post.drop(j.id(n).Tenant, j.c.Address(n))
		}
	}
	if j.yes("files, too") {
		for _, n := range j.erased {
			j.files[j.id(n)] = true
			if j.c.Knows(j.t, j.db, n) {
				j.post.put(j.id(n).Tenant, j.c.Address(n))
			}
		}
	}
	j.desk = j.open()
	j.restored = true
	if len(j.db.Search(j.t, j.needles())) > 0 {
		require.Error(j.rt, j.desk.Ready(j.t.Context()), "who is there again shuts the gate")
	}
	j.arm(16)
}

// replay replays until it has got through.
func (j *job) replay() {
	for range 6 {
		if !j.interrupted(func() error { _, err := j.desk.Replay(j.t.Context()); return err }) {
			j.disarm()
			return
		}
	}
	j.rt.Fatal("the replay does not get through")
}

// needles are the texts of everybody who was erased: once the database was put
// back, those that can be found again.
func (j *job) needles() []wholedb.Needle {
	if j.restored {
		return j.c.Known(j.c.Needles(j.erased...))
	}
	return j.c.Needles(j.erased...)
}

// check looks for everybody who was erased.
func (j *job) check(when string) {
	t, rt := j.t, j.rt
	require.Empty(rt, j.db.Search(t, j.needles()), "left "+when)
	kept := j.c.Kept(j.erased...)
	require.Empty(rt, wholedb.Lost(j.db.Search(t, kept), kept), "lost "+when)
	others := j.c.Others(t, j.db, j.erased...)
	require.Len(rt, others, j.c.Untouched(j.erased...), "others "+when)
	require.Subset(rt, j.others, others, "others "+when)
	for _, n := range j.erased {
		left, err := j.c.Keys.Left(t.Context(), fmt.Sprint(j.c.People[n].Tenant), j.c.People[n].ID)
		require.NoError(rt, err)
		require.Zero(rt, left, "the key "+when)
		require.False(rt, j.files[j.id(n)], "the files "+when)
		require.False(rt, j.post.has(j.id(n).Tenant, j.c.Address(n)), "the letters "+when)
	}
	require.Empty(rt, j.c.Live(j.erased...), "key owners of records "+when)
	for n := range j.c.People {
		if !j.isErased(n) {
			require.True(rt, j.files[j.id(n)] && j.post.has(j.id(n).Tenant, j.c.Address(n)), "files and letters of others "+when)
		}
	}
	require.NoError(rt, j.desk.Ready(t.Context()))
	promise{gone: j.c.Needles(j.erased...)}.nowhere(rt, j.dir, nil)
}

// certified compares a certificate with what has become of the database.
func (j *job) certified(o privacy.Outcome, group []int, before map[string]map[string]string) {
	rt := j.rt
	read, err := certificate.Verify(o.Certificate, j.public())
	require.NoError(rt, err)
	after := j.rows()
	deleted, kept := map[string]int64{}, map[randomschema.Obligation]int{}
	for _, r := range read.Statement.Records {
		switch {
		case r.Class == certificate.Deleted && r.Store == "database":
			deleted[r.Table] += r.Count
		case r.Class == certificate.Kept:
			kept[randomschema.Obligation{Table: r.Table, Because: r.Because, Until: r.Until}] += int(r.Count)
		}
	}
	require.Equal(rt, j.c.Obligations(group...), kept, "what the certificate calls kept")
	for table, rows := range before {
		var gone int64
		for key := range rows {
			if _, there := after[table][key]; !there {
				gone++
			}
		}
		require.Equal(rt, gone, deleted[table], "what the certificate calls deleted of %s", table)
	}
	promise{gone: j.c.Needles(group...)}.nowhere(rt, j.dir, o.Certificate)
}

// rows are the rows of the tables of the map that lead to persons, by their keys.
func (j *job) rows() map[string]map[string]string {
	all := map[string]map[string]string{}
	j.db.Rows(j.t, func(r wholedb.Row) {
		table, mapped := j.c.Map.Table(r.Table)
		if !mapped || !table.Reaches() {
			return
		}
		if all[r.Table] == nil {
			all[r.Table] = map[string]string{}
		}
		var key strings.Builder
		for _, column := range table.Key {
			key.WriteString(r.Text(column) + "/")
		}
		all[r.Table][key.String()] = r.String()
	})
	return all
}
