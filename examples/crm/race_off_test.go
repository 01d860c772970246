//go:build !race

package main

// contactsOfOthers is how many of the 3,000 contacts the tour takes in this
// build.
const contactsOfOthers = 3000

// shapesStride says that every so many shapes of files are tried, and manyRows
// how many rows the large file has unless more are asked for.
const (
	shapesStride = 1
	manyRows     = 150
)
