package accesscontrol_test

import (
	"context"
	"errors"
	"iter"
	"log/slog"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/accesscontrol"
)

// Whoever is found may, and whoever is not found may not: as a check says of
// each.
func TestWhoCanSeeIsWhatChecksSay(t *testing.T) {
	db := openDB(t, crmDDL)
	policy, people := loadCRM(t), crmPeople()
	foreign := people["support"]
	foreign.Tenant, foreign.ID = "other", "sue2"
	candidates := []accesscontrol.Principal{foreign}
	for _, role := range []string{"sales", "manager", "support", "auditor", "outsider"} {
		candidates = append(candidates, people[role])
	}
	records, err := contacts(t.Context(), db)
	require.NoError(t, err)
	found := map[string]string{}
	for _, record := range records {
		may := map[string]bool{}
		for access, err := range policy.WhoCan(t.Context(), accesscontrol.Each(candidates...), "contact.read", record) {
			require.NoError(t, err)
			require.NoError(t, access.Err)
			may[access.Principal.ID] = true
			found[record.ID] += access.Principal.ID + ":" + strings.Join(access.Policies, "+") + " "
		}
		for _, c := range candidates {
			require.Equal(t, policy.Check(t.Context(), c, "contact.read", record) == nil, may[c.ID], "%s %s", c.ID, record.ID)
		}
	}
	require.Equal(t, map[string]string{
		"c1": "ann:sales-accounts+sales-own mia:manager-region sue:support-read aud:auditor-read ",
		"c2": "ann:sales-accounts sue:support-read aud:auditor-read ",
		"c3": "sue:support-read aud:auditor-read ",
		"c4": "aud:auditor-read ",
		"c5": "mia:manager-region sue:support-read aud:auditor-read ",
		"c6": "sue2:support-read ",
	}, found)
}

// A candidate about whom nothing can be said is in the answer: left out, they
// would be somebody who may not.
func TestWhoCanLeavesNobodyOut(t *testing.T) {
	policy, people := loadCRM(t), crmPeople()
	odd := people["sales"]
	odd.Attrs = nil
	unread := errors.New("the store cannot be read")
	var candidates iter.Seq2[accesscontrol.Principal, error] = func(yield func(accesscontrol.Principal, error) bool) {
		_ = yield(odd, nil) && yield(people["support"], nil) && yield(accesscontrol.Principal{}, unread) && yield(people["auditor"], nil)
	}
	var got []string
	for access, err := range policy.WhoCan(t.Context(), candidates, "contact.read", contactOf("bob")) {
		switch {
		case err != nil:
			got = append(got, err.Error())
		case access.Err != nil:
			require.ErrorIs(t, access.Err, accesscontrol.ErrRequest)
			got = append(got, access.Principal.ID+" unknown")
		default:
			got = append(got, access.Principal.ID)
		}
	}
	require.Equal(t, []string{"ann unknown", "sue", "the store cannot be read"}, got)

	for range policy.WhoCan(t.Context(), accesscontrol.Each(people["support"], people["auditor"]), "contact.read", contactOf("bob")) {
		break
	}
	ended, end := context.WithCancel(t.Context())
	end()
	for _, err := range policy.WhoCan(ended, accesscontrol.Each(people["support"]), "contact.read", contactOf("bob")) {
		require.ErrorIs(t, err, context.Canceled)
	}
	for _, err := range policy.WhoCan(t.Context(), nil, "contact.read", contactOf("bob")) {
		require.ErrorIs(t, err, accesscontrol.ErrRequest)
	}
	var none *accesscontrol.Policy
	for _, err := range none.WhoCan(t.Context(), accesscontrol.Each(odd), "contact.read", contactOf("bob")) {
		require.ErrorIs(t, err, accesscontrol.ErrNotLoaded)
	}
}

// Reviews and differences are no checks: a monitor of denials sees nothing.
func TestReviewsMeasureNothing(t *testing.T) {
	config, seen := crmConfig(), 0
	config.Observe = func(_ context.Context, name string, _ float64, _ ...slog.Attr) {
		if name == "accesscontrol.check" {
			seen++
		}
	}
	policy, err := accesscontrol.Load(t.Context(), config)
	require.NoError(t, err)
	people := crmPeople()
	for _, err := range policy.WhoCan(t.Context(), accesscontrol.Each(people["support"], people["outsider"]), "contact.read", contactOf("bob")) {
		require.NoError(t, err)
	}
	request := accesscontrol.Request{Principal: people["outsider"], Action: "contact.read", Resource: contactOf("bob")}
	for _, err := range accesscontrol.Diff(t.Context(), policy, policy, accesscontrol.Each(request)) {
		require.NoError(t, err)
	}
	_, err = policy.WhatCan(t.Context(), people["sales"])
	require.NoError(t, err)
	require.Zero(t, seen)
	require.ErrorIs(t, policy.Check(t.Context(), request.Principal, request.Action, request.Resource), accesscontrol.ErrDenied)
	require.Equal(t, 1, seen)
}
