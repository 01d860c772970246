package audit

import "slices"

// Whether an object is a person is said by its kind, and by [PersonRef]; never
// by comparing ids. Where each table counts its own rows, deal 17 and person 17
// meet by chance, and neither has to do with the other.

// anyPerson is the kind of a person whatever the object: that of a question about
// one, as Config.Allow is asked, and of a merger.
const anyPerson = "person"

// isPersonKind says that the ids of a kind are ids of persons.
func (t *Trail) isPersonKind(kind string) bool {
	return kind == anyPerson || slices.Contains(t.config.PersonKinds, kind)
}

// checkKind holds an object to what the configuration says about its kind. The
// answer is the same for all ids: who names an object in a wrong way learns it
// from the first event.
func (t *Trail) checkKind(o Object) error {
	switch {
	case o.Kind == "" || t.config.PersonKinds == nil && o.Kind != anyPerson:
		return nil
	case !o.Person && t.isPersonKind(o.Kind):
		return invalid("objects of this kind are persons (Config.PersonKinds): PersonRef names one, and shows a surrogate in the log; Ref would show the id")
	case o.Person && !t.isPersonKind(o.Kind):
		return invalid("PersonRef names an object whose kind is none of Config.PersonKinds: add the kind, or take Ref")
	}
	return nil
}

// byKind is the object that a text kind/id names: a person where the kind says
// so.
func (t *Trail) byKind(o Object) Object {
	if t != nil && t.isPersonKind(o.Kind) {
		o.Person = true
	}
	return o
}
