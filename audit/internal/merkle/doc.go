// Package merkle computes the Merkle tree of a log from what the log consists of:
// tiles as they are read and proved, hashes as they are added, and every tile
// from the leaf hashes alone.
package merkle
