// Package audit records who did what in the same transaction as the change
// itself and keeps the events in a Merkle log that anyone can verify.
package audit
