package keycopy

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/crmguard/crmguard/encryption/internal/keyring"
	"github.com/crmguard/crmguard/internal/durable"
)

// keepNewest deletes all copies in the folder but the newest good one, once
// that one is durable under its name. It deletes only what stood there when it
// began: whoever brings a file later tidies up after itself.
func (v *Copies) keepNewest(ctx context.Context, folder *durable.Folder, dir string, written Copy) (Copy, error) {
	files, err := copiesIn(dir)
	if err != nil {
		return Copy{}, err
	}
	for _, name := range slices.Backward(files) {
		if name <= filepath.Base(written.Path) || !isCopyName(name) {
			continue
		}
		newer, err := v.Verify(ctx, filepath.Join(dir, name))
		if err == nil {
			written = newer // of another writer, who may not have flushed its name yet
			if err := syncCopies(folder); err != nil {
				return Copy{}, err
			}
			break
		}
		if !errors.Is(err, keyring.ErrCopy) {
			return Copy{}, err // it may be good
		}
	}
	others := slices.DeleteFunc(files, func(name string) bool {
		return name == filepath.Base(written.Path) || isHolesName(name) && sequenceOf(name) > written.Sequence
	})
	if err := folder.RemoveAll(".", others...); err != nil {
		return Copy{}, fmt.Errorf("%w: an older copy may still be there: %w", keyring.ErrCopy, err)
	}
	return written, nil
}

// keepHoles deletes older copies with holes, and what is unfinished, once this
// one is durable under its name. Whole copies stay: they have what it lacks.
func (v *Copies) keepHoles(folder *durable.Folder, dir, written string) error {
	files, err := copiesIn(dir)
	if err != nil {
		return err
	}
	others := slices.DeleteFunc(files, func(name string) bool { return isCopyFile(name) || name >= written && isHolesName(name) })
	if err := folder.RemoveAll(".", others...); err != nil {
		return fmt.Errorf("%w: an older copy may still be there: %w", keyring.ErrCopy, err)
	}
	return nil
}

// syncCopies makes the names in a folder durable. An error of it says that the
// disk may yet lose a copy that got its name, or bring back one that was
// deleted.
func syncCopies(folder *durable.Folder) error {
	if err := folder.Sync("."); err != nil {
		return fmt.Errorf("%w: %w", keyring.ErrCopy, err)
	}
	return nil
}

// copiesIn lists the key copies of a folder, unfinished and misnamed ones and
// those with holes, too, by name.
func copiesIn(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", keyring.ErrCopy, err)
	}
	var names []string
	for _, entry := range entries {
		if !entry.IsDir() && (isCopyFile(entry.Name()) || isHolesName(entry.Name()) || durable.Unfinished(tempPrefix, entry.Name())) {
			names = append(names, entry.Name())
		}
	}
	return names, nil
}

func copyName(sequence int64) string { return fmt.Sprintf("keys-%020d.jsonl", sequence) }

// isCopyName says whether WriteCopy could have given this name.
func isCopyName(name string) bool {
	digits := strings.TrimSuffix(strings.TrimPrefix(name, "keys-"), ".jsonl")
	sequence, err := strconv.ParseInt(digits, 10, 64)
	return err == nil && name == copyName(sequence)
}

func holesName(sequence int64) string { return holesPrefix + copyName(sequence)[len("keys-"):] }

// isHolesName says whether this is a name for a copy with holes.
func isHolesName(name string) bool {
	rest, ok := strings.CutPrefix(name, holesPrefix)
	return ok && isCopyName("keys-"+rest)
}

// sequenceOf reads the sequence out of the name of a copy; 0 where it has none.
func sequenceOf(name string) int64 {
	_, digits, _ := strings.Cut(filepath.Base(name), "keys-")
	sequence, err := strconv.ParseInt(strings.TrimSuffix(digits, ".jsonl"), 10, 64)
	if err != nil {
		return 0
	}
	return sequence
}

// isCopyFile says whether a file counts as a key copy, misnamed ones too.
func isCopyFile(name string) bool {
	ok, err := path.Match(copyPattern, name)
	return ok && err == nil
}

// Newest returns the path of the newest key copy in a folder, by name;
// VerifyCopy says whether it is good, and its name true.
func Newest(dir string) (string, error) {
	files, err := copiesIn(dir)
	files = slices.DeleteFunc(files, func(name string) bool { return !isCopyName(name) })
	if err != nil || len(files) == 0 {
		return "", fmt.Errorf("%w: none in the folder %s: name the folder that WriteCopy writes to", keyring.ErrCopy, strings.TrimSuffix(filepath.Base(dir), "/"))
	}
	return filepath.Join(dir, slices.Max(files)), nil
}
