// Package httpguard puts an [accesscontrol.Policy] in front of a net/http
// handler, and answers whoever may not pass so that they learn nothing else.
//
//	guard := httpguard.Guard(policy, who, route, nil)
//	mux.Handle("GET /contacts/{id}", guard(http.HandlerFunc(show)))
//
//	func who(r *http.Request) (accesscontrol.Principal, error) {
//		user, ok := session.User(r)
//		if !ok {
//			return accesscontrol.Principal{}, httpguard.ErrNobody // 401
//		}
//		return accesscontrol.Principal{ID: user.ID, Tenant: user.Tenant}, nil
//	}
//
//	func route(r *http.Request, who accesscontrol.Principal) (httpguard.Question, error) {
//		record, err := contacts.Find(r.Context(), r.PathValue("id")) // ErrMissing: 404
//		return httpguard.Question{Action: "contact.read", Resource: record}, err
//	}
//
//	func show(w http.ResponseWriter, r *http.Request) {
//		access, _ := httpguard.From(r.Context()) // Actor and Resource
//		…
//	}
//
// # Promises
//
//   - The handler is called where the policy says yes, and nowhere else: an
//     error and a panic of who, of route or of the policy is 503, with
//     Retry-After, and no other answer.
//   - A record that may not be seen is answered as one that does not exist: the
//     same status, headers and bytes, and at the same time, in steps of
//     [Options.Pace] after the request came. 403 is for records that may be seen.
//   - Whoever is not logged in is 401 before anything is looked up.
//   - A body holds no id, value, action, policy or reason. It is a problem of RFC
//     9457, in English or Chinese by Accept-Language, and is not cached.
//
// # Not promised
//
//   - What the handler does: a list is filtered by its query
//     ([accesscontrol.Actor.Filter]), fields are hidden by it
//     ([accesscontrol.Actor.Fields]), and a change repeats the filter in its
//     UPDATE, since the record may have changed since route read it.
//   - That a lookup which takes longer than one step, for records of one kind
//     only, cannot be told from the time; make Pace longer than it.
//   - OPTIONS is asked about as every other method. What answers CORS stands in
//     front of the guard.
//
// # First call
//
// [Guard] once for each kind of route, then the handler that it gives.
//
// # Concurrency
//
// Everything here is safe for concurrent use. No goroutine is started.
//
// # Errors
//
//	ErrNobody   answer of who: nobody is logged in, 401
//	ErrMissing  answer of route: there is no such record, 404
//	*PanicError reported with a 503: who or route panicked
//
// # Format and compatibility
//
// The bodies may change until v0.1.0, the statuses are kept. Stability: settling.
package httpguard
