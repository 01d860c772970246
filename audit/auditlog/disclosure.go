package auditlog

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"fmt"
	"slices"

	"github.com/crmguard/crmguard/internal/canon"
	"github.com/crmguard/crmguard/internal/frame"
)

// A disclosure shows an outsider one value of one event, and that it is the one in
// the log: the entry, its proof, the value and the salt of this value alone. The
// seed, which would show all that the event says about its owner, stays where it
// is.

// Disclosure is what [CheckDisclosure] found to be so.
type Disclosure struct {
	Leaf  Leaf   // the event
	Who   string // surrogate of the person whom the value is about, "" for nobody
	Path  string // the true name of the field
	Side  byte   // [SideOld] or [SideNew]
	Value any    // as [GoValue] has it
}

type disclosureJSON struct {
	Fold  [][]string `json:"fold,omitempty"` // [path, commitment] of all fields of the owner on this side, where they stand folded in the leaf
	Leaf  string     `json:"leaf"`
	Name  string     `json:"name,omitempty"` // salt of the name of a field that does not stand in the log
	Path  string     `json:"path"`
	Proof string     `json:"proof"`
	Salt  string     `json:"salt"`
	Side  int        `json:"side"`
	Type  int        `json:"type"`
	V     int        `json:"v"`
	Value string     `json:"value"`
	Who   string     `json:"who,omitempty"`
}

// saltSize is that of every salt: beside a longer one, what stands in the end of a
// value would be a value of its own under the same commitment.
const saltSize = sha256.Size

// maxDisclosure bounds what is read: a value of the largest opening.
const maxDisclosure = 32 << 20

// Disclose makes a disclosure of a leaf: one side of the field of the owner's
// opening that has this path. It must be the opening of this leaf; the proof is
// taken as it is.
func Disclose(leaf, proof []byte, o *Opening, owner, path string, side byte) ([]byte, error) {
	l, err := ParseLeaf(leaf)
	if err != nil {
		return nil, err
	}
	id, err := ParseID(l.ID)
	if err != nil {
		return nil, err
	}
	if err := o.Matches(&l, owner); err != nil {
		return nil, err
	}
	value, ok := o.find(path, side)
	if !ok || side != SideOld && side != SideNew {
		return nil, invalid("disclose: the opening has no such field")
	}
	c := o.Committer(id)
	text := func(f Field) string { return canon.FormatBytes(c.salt(&f).Sum(nil)) }
	d := disclosureJSON{
		Leaf: canon.FormatBytes(leaf), Proof: canon.FormatBytes(proof), Path: path, V: 1,
		Side: int(side), Type: int(value.Type), Value: canon.FormatBytes(value.Data), Salt: text(Field{Path: path, Side: side}),
	}
	if owner != Nobody {
		d.Who = owner
	}
	if _, ok := o.find(path, SideName); ok {
		d.Name = text(Field{Path: path, Side: SideName})
	}
	if slices.ContainsFunc(l.Changes, func(x LeafChange) bool { return x.Owner() == owner && x.Path == Folded }) {
		changes, _ := o.spread(id, d.Who)
		slices.SortFunc(changes, func(a, b LeafChange) int { return cmp.Compare(a.Path, b.Path) })
		for _, x := range changes {
			d.Fold = append(d.Fold, []string{x.Path, x.side(side)})
		}
	}
	return canon.Marshal(d)
}

// side is the commitment of one side.
func (c *LeafChange) side(side byte) string {
	if side == SideOld {
		return c.Old
	}
	return c.New
}

// oddOn says whether the leaf calls the value of a side a stand-in.
func (c *LeafChange) oddOn(side byte) bool {
	return c.Odd == "both" || c.Odd == "old" && side == SideOld || c.Odd == "new" && side == SideNew
}

// CheckDisclosure checks a disclosure, offline and without any store: the entry is
// in the log that trust names ([Verify]), and the value is the one that the entry
// commits to. Another value, field or entry is ErrTampered, other bytes are
// ErrMalformed.
func CheckDisclosure(trust Trust, data []byte) (Disclosure, error) {
	var d disclosureJSON
	if len(data) > maxDisclosure {
		return Disclosure{}, malformed("disclosure of %d bytes", len(data))
	}
	if err := canon.Unmarshal(data, &d); err != nil {
		return Disclosure{}, malformed("disclosure: %w", err)
	}
	if again, err := canon.Marshal(d); err != nil || !bytes.Equal(again, data) {
		return Disclosure{}, malformed("disclosure: members that are not known, or in another spelling")
	}
	if d.V != 1 || d.Side != int(SideOld) && d.Side != int(SideNew) || d.Type < 0 || d.Type > int(TypeStandIn) || d.Path == "" {
		return Disclosure{}, malformed("disclosure: version, side, type or path")
	}
	var parts [4][]byte
	for i, text := range []string{d.Leaf, d.Proof, d.Value, d.Salt} {
		var err error
		if parts[i], err = canon.ParseBytes(text); err != nil {
			return Disclosure{}, malformed("disclosure: %w", err)
		}
	}
	if len(parts[3]) != saltSize {
		return Disclosure{}, malformed("disclosure: a salt of %d bytes", len(parts[3]))
	}
	leaf, err := Verify(trust, parts[0], parts[1])
	if err != nil {
		return Disclosure{}, err
	}
	out := Disclosure{Leaf: leaf, Who: d.Who, Path: d.Path, Side: byte(d.Side)}
	value := frame.Value{Type: frame.Type(d.Type), Data: parts[2]}
	if err := d.committed(&leaf, value, parts[3]); err != nil {
		return Disclosure{}, err
	}
	if out.Value, err = GoValue(value); err != nil {
		return Disclosure{}, err
	}
	return out, nil
}

// committed says whether the leaf commits to a value under its salt.
func (d *disclosureJSON) committed(l *Leaf, value frame.Value, salt []byte) error {
	id, err := ParseID(l.ID)
	if err != nil {
		return err
	}
	path := d.Path
	if d.Name != "" {
		name, err := canon.ParseBytes(d.Name)
		if err != nil || len(name) != saltSize {
			return malformed("disclosure: salt of the name")
		}
		f := Field{Path: path, Side: SideName, Value: frame.Value{Type: frame.Text, Data: []byte(path)}}
		path = "c:" + commitSalted(name, id, &f)
	}
	side := byte(d.Side)
	want := commitSalted(salt, id, &Field{Path: d.Path, Side: side, Value: value})
	for i := range l.Changes {
		c := &l.Changes[i]
		if c.Who != d.Who {
			continue
		}
		if d.Fold != nil {
			return d.folded(c, path, want, side)
		}
		if c.Path == path && c.side(side) == want && c.oddOn(side) == (value.Type == TypeStandIn) {
			return nil
		}
	}
	return fmt.Errorf("%w: the value is not one that the entry commits to", ErrTampered)
}

// folded says whether a commitment is one of those that a folded change hashes.
func (d *disclosureJSON) folded(c *LeafChange, path, want string, side byte) error {
	data := append(frame.Append(nil, foldLabel), side)
	found := false
	for _, f := range d.Fold {
		if len(f) != 2 {
			return malformed("disclosure: fold")
		}
		data = frame.Append(frame.Append(data, f[0]), f[1])
		found = found || f[0] == path && f[1] == want
	}
	sum := sha256.Sum256(data)
	if !found || canon.FormatBytes(sum[:]) != c.side(side) {
		return fmt.Errorf("%w: the value is not one that the entry commits to", ErrTampered)
	}
	return nil
}

// commitSalted is a commitment under a salt that is known.
func commitSalted(salt []byte, event [16]byte, f *Field) string {
	data := append(frame.Append(nil, commitLabel), salt...)
	sum := sha256.Sum256(appendCommitted(data, event, f))
	return canon.FormatBytes(sum[:])
}
