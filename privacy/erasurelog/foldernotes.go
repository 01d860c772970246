package erasurelog

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"slices"
	"strings"

	"github.com/crmguard/crmguard/internal/durable"
)

// Notes stand in a folder of their own, a file each.
const (
	notesFolder = "notes"
	noteEnding  = ".note"
)

func noteFile(name string) string { return notesFolder + "/" + name + noteEnding }

// PutNotes is [Medium.PutNotes]. One at a time: a write that hung, and whose caller
// has gone, must not bring back what was removed meanwhile.
func (f *folder) PutNotes(ctx context.Context, notes ...SealedNote) error {
	return await(ctx, func() error {
		return f.with(func(d *durable.Folder) error {
			if _, err := d.Lstat(ledgerFile); err != nil { // its disk is not mounted
				return err
			}
			unlock, err := f.lock(ctx, notesLock)
			if err != nil {
				return err
			}
			defer unlock()
			if err := d.MkdirAll(notesFolder, 0o700); err != nil {
				return err
			}
			var gone []string
			for _, note := range notes {
				if note.Sealed == nil {
					gone = append(gone, note.Name+noteEnding)
				} else if err := d.Replace(noteFile(note.Name), note.Sealed, 0o600); err != nil {
					return err
				}
			}
			if len(gone) == 0 {
				return nil
			}
			return d.RemoveAll(notesFolder, gone...)
		})
	})
}

// Notes is [Medium.Notes].
func (f *folder) Notes(ctx context.Context) iter.Seq2[SealedNote, error] {
	return func(yield func(SealedNote, error) bool) {
		var names []string
		err := await(ctx, func() (err error) {
			names, err = f.noteNames()
			return err
		})
		if err != nil {
			yield(SealedNote{}, err)
			return
		}
		for _, name := range names {
			var sealed []byte
			err := await(ctx, func() error {
				return f.with(func(d *durable.Folder) (err error) {
					sealed, err = d.ReadFirst(noteFile(name), MaxLine+1)
					return err
				})
			})
			switch {
			case errors.Is(err, fs.ErrNotExist): // forgotten meanwhile
				continue
			case ctx.Err() != nil:
				yield(SealedNote{}, ctx.Err())
				return
			case err == nil && len(sealed) > MaxLine:
				err = fmt.Errorf("%s has more than %d bytes", noteFile(name), MaxLine)
			}
			if err != nil {
				sealed = nil
			}
			if !yield(SealedNote{name, sealed}, err) {
				return
			}
		}
	}
}

// noteNames lists the notes in order. What has another name is none.
func (f *folder) noteNames() (names []string, err error) {
	err = f.with(func(d *durable.Folder) error {
		if _, err := d.Lstat(ledgerFile); err != nil {
			return err
		}
		d.CleanUp(notesFolder)
		entries, err := d.ReadDir(notesFolder)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		for _, e := range entries {
			if name, ok := strings.CutSuffix(e.Name(), noteEnding); ok && isNoteName(name) {
				names = append(names, name)
			}
		}
		return err
	})
	slices.Sort(names)
	return names, err
}
