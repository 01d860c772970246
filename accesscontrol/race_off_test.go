//go:build !race

package accesscontrol

const raceEnabled = false
