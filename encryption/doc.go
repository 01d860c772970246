// Package encryption seals the fields of an application under keys of the
// persons they are about.
package encryption
