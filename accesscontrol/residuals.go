package accesscontrol

import "maps"

// residuals are those that are kept for a principal. They never change; with
// makes a larger one.
type residuals struct {
	// first are the ones asked for first, which a request asks for again.
	// Looking at each is faster than a map while they are few.
	first []keptResidual
	all   map[asked]*residual
}

type keptResidual struct {
	asked
	left *residual
}

const firstResiduals = 8

// find gives the residual of a question, nil where none is kept.
func (k *residuals) find(key asked) *residual {
	for i := range k.first {
		if k.first[i].asked == key {
			return k.first[i].left
		}
	}
	if len(k.all) == len(k.first) {
		return nil
	}
	return k.all[key]
}

// with is the same and one more.
func (k *residuals) with(key asked, r *residual) *residuals {
	larger := &residuals{first: k.first, all: maps.Clone(k.all)}
	if larger.all == nil {
		larger.all = map[asked]*residual{}
	}
	larger.all[key] = r
	if len(k.first) < firstResiduals && k.find(key) == nil {
		larger.first = append(k.first[:len(k.first):len(k.first)], keptResidual{key, r})
	}
	return larger
}
