// Package worst keeps a bounded list of what is wrong, from which no number of
// lesser things pushes a worse one: whoever deletes a hundred files should not
// hide by it which one they changed.
package worst

// Keep adds one to a list of at most so many; full says that one was left out. Where
// the list is full, the last of those gives way that none is less bad than, if it
// is less bad than the new one. The rest stay in the order in which they came.
func Keep[F any](list []F, most int, one F, worse func(a, b F) bool) (kept []F, full bool) {
	if len(list) < most {
		return append(list, one), false
	}
	least := -1
	for i := range list {
		if least < 0 || !worse(list[i], list[least]) {
			least = i
		}
	}
	if least >= 0 && worse(one, list[least]) {
		copy(list[least:], list[least+1:])
		list[len(list)-1] = one
	}
	return list, true
}
