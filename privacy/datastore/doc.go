// Package datastore is the seam between the desk of package privacy and the
// places that hold personal data: a database, person keys, files, a search
// index, a mail provider.
//
//	index := datastore.Func{Name: "search index", Class: datastore.Deleted,
//		Erase: func(ctx context.Context, tenant, person string) error { … },
//		Remaining: func(ctx context.Context, tenant, person string) (int, error) { … }}.Store()
//
// [Func] makes a [Store] of a few functions. Whoever implements Store himself
// judges it with privacytest.Run.
//
// # Promises
//
// Every method of a Store may be called again: an Erase of what is gone is no
// error. What crosses the seam are keys and counts, never values, but for
// Export.
//
// # Concurrency
//
// A Store is used by several goroutines and processes at once.
//
// # Errors
//
//	ErrLater       temporary  (wrapped by a store) the erasure is under way: the outcome is Waiting, execute again
//	ErrShredded    permanent  (wrapped by whoever opens a sealed value) its key was destroyed: an export says that it is left out
//	ErrShared      permanent  (wrapped by a store) correct the data: an identity of the person is somebody else's, too
//	ErrUnreadable  permanent  (wrapped by People) mend the row: nobody can say whose it is
//	ErrScope       permanent  name tenant and person
//
// Stability: settling.
package datastore
