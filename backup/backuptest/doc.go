// Package backuptest judges implementations of backup.Store and offers stores
// for tests: [Memory], and [Faulty] that fails on cue.
//
// [Vanishing] judges those whose place can go away.
//
// It promises that a store which passes [Run] keeps the rules that package
// backup relies on, as far as they show without pulling the plug. It does
// not prove durability: test that with a layer that forgets unflushed writes.
//
// It imports testing, its parent and the standard library only.
package backuptest
