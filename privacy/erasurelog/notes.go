package erasurelog

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"fmt"
	"iter"
	"strings"
)

// Note is something that must survive a restore of the database and be
// forgotten later: how the rest of an erasure is found. It is sealed under the
// ledger roots.
type Note struct {
	Name string // 1 to 64 of a-z, 0-9 and -, such as the id of a plan; it is not sealed
	Data []byte
}

// Sealed notes are the byte 1, the id of the root (4), the nonce and what
// AES-256-GCM made.
const (
	noteVersion = 1
	noteHeader  = 5
)

// Note writes a note in the place of one of the same name, durably.
func (l *Log) Note(ctx context.Context, name string, data []byte) error {
	if !isNoteName(name) {
		return fmt.Errorf("%w: a note's name is 1 to 64 of a-z, 0-9 and -", ErrEntry)
	}
	roots, keys, err := l.digests.all(ctx, labelNote, []byte(name))
	if err != nil {
		return err
	}
	aead, err := noteAEAD(keys[0])
	if err != nil {
		return err
	}
	sealed := binary.BigEndian.AppendUint32([]byte{noteVersion}, roots[0])
	sealed = aead.Seal(sealed, nil, data, []byte(name)) //nolint:gosec // this AEAD draws its nonce itself, and takes none
	if len(sealed) > MaxLine {
		return fmt.Errorf("%w: a note of more than %d bytes", ErrEntry, MaxLine)
	}
	return l.putNotes(ctx, SealedNote{name, sealed})
}

// putNotes writes, one of this process at a time: so none waits for a lock that
// another one holds.
func (l *Log) putNotes(ctx context.Context, notes ...SealedNote) error {
	done, err := take(ctx, l.noting)
	if err != nil {
		return err
	}
	defer done()
	if err := l.cfg.Medium.PutNotes(ctx, notes...); err != nil {
		return l.unreachable(ctx, err)
	}
	return nil
}

// Notes yields all notes in the order of their names. One that was not sealed
// under these roots comes with its name and a [*LedgerError], and others follow
// it. Nothing says that a note is the newest of its name, or that it was not
// forgotten before: whoever puts an older one back is not noticed here.
func (l *Log) Notes(ctx context.Context) iter.Seq2[Note, error] {
	return func(yield func(Note, error) bool) {
		for sealed, err := range l.cfg.Medium.Notes(ctx) {
			note := Note{Name: sealed.Name}
			if note.Name != "" && !isNoteName(note.Name) {
				continue // nothing that Note has written
			}
			if err != nil {
				err = l.unreachable(ctx, err)
			} else {
				note.Data, err = l.openNote(ctx, sealed)
			}
			if !yield(note, err) {
				return
			}
		}
	}
}

func (l *Log) openNote(ctx context.Context, note SealedNote) ([]byte, error) {
	what := "note " + note.Name
	if len(note.Sealed) < noteHeader || note.Sealed[0] != noteVersion {
		return nil, l.fail(ErrForged, 0, what+" has no form", remedyNote)
	}
	root := binary.BigEndian.Uint32(note.Sealed[1:noteHeader])
	key, known, err := l.digests.under(ctx, root, labelNote, []byte(note.Name))
	if err != nil {
		return nil, err
	}
	if !known {
		return nil, l.fail(ErrForeign, 0, what+" is sealed under root "+rootText(root), remedyOther)
	}
	aead, err := noteAEAD(key)
	if err != nil {
		return nil, err
	}
	data, err := aead.Open(nil, nil, note.Sealed[noteHeader:], []byte(note.Name))
	if err != nil {
		return nil, l.fail(ErrForged, 0, what+" does not open", remedyNote)
	}
	return data, nil
}

// Forget removes notes, durably; one that is not there is no error. Copies of
// the medium, and blocks of its disk, keep what they hold.
func (l *Log) Forget(ctx context.Context, names ...string) error {
	notes := make([]SealedNote, len(names))
	for i, name := range names {
		if !isNoteName(name) {
			return fmt.Errorf("%w: a note's name is 1 to 64 of a-z, 0-9 and -", ErrEntry)
		}
		notes[i].Name = name
	}
	if len(notes) == 0 {
		return nil
	}
	return l.putNotes(ctx, notes...)
}

func noteAEAD(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}

func isNoteName(name string) bool {
	const most = 64
	return name != "" && len(name) <= most && strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789-") == ""
}
