// Package values says what a change records of a Go value: its encoding, or a
// stand-in where it has none. It promises that whatever Go type an application
// keeps a value in, the log commits to the value; that what is refused is refused
// each time; and that no error and no stand-in holds an address of memory.
package values
