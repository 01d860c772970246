package alone

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
)

// form is what a file of a secret holds, in the operator's words.
const form = "a secret is one line of 64 lower-case hex digits (32 random bytes)"

// Read reads a secret from the file that [Create] made: one line of 64
// lower-case hex digits. On unix the file must be closed to group and others.
// No error shows what the file holds.
func Read(path string) (Secret, error) {
	// Looked at before it is opened: opening a pipe would wait for a writer.
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return Secret{}, fmt.Errorf("%w: make it once, or bring it back if it was there before: with another one nothing verifies or opens that this one tagged or sealed", err)
	case err != nil:
		return Secret{}, err
	}
	if err := private(path, info); err != nil {
		return Secret{}, err
	}
	file, err := os.Open(path)
	if err != nil {
		return Secret{}, err
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, 2*keySize+3)) // a longer one is refused unread
	if err != nil {
		return Secret{}, err
	}
	secret, err := parse(text)
	if err != nil {
		return Secret{}, fmt.Errorf("%s: %w", path, err)
	}
	root, err := From(secret)
	if err != nil {
		return Secret{}, fmt.Errorf("%s: %w", path, err)
	}
	return root, nil
}

// private refuses what others can read. Windows has no such bits: there the
// rights of the folder decide.
func private(path string, info fs.FileInfo) error {
	switch mode := info.Mode(); {
	case !mode.IsRegular():
		return fmt.Errorf("%s: not a plain file: %s in a file of its own", path, form)
	case runtime.GOOS != "windows" && mode.Perm()&0o077 != 0:
		return fmt.Errorf("%s: mode %#o lets others at the secret: chmod 600, and if they were not meant to read it, take another secret", path, mode.Perm())
	}
	return nil
}

func parse(text []byte) ([]byte, error) {
	line, ended := bytes.CutSuffix(text, []byte("\r\n"))
	if !ended {
		line = bytes.TrimSuffix(text, []byte("\n"))
	}
	secret := make([]byte, keySize)
	if len(line) != 2*keySize {
		return nil, errors.New("wrong length: " + form)
	}
	if _, err := hex.Decode(secret, line); err != nil || !bytes.Equal(line, bytes.ToLower(line)) {
		return nil, errors.New("other characters: " + form)
	}
	return secret, nil
}

// Create makes a secret and stores it in a file that must not exist: the
// error is [fs.ErrExist] otherwise, and the file stays. Of several processes
// one makes the file, and none ever sees half of it. It is durable when
// Create returns nil. A killed Create may leave .secret-*.tmp beside it, which
// is to be removed like a copy of the secret.
func Create(path string) (err error) {
	secret := make([]byte, keySize)
	_, _ = rand.Read(secret) // never fails
	folder := filepath.Dir(path)
	if _, err := os.Stat(folder); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: make the folder first, for the application's user alone", err)
	}
	file, err := os.CreateTemp(folder, ".secret-*.tmp") // mode 0600, O_EXCL
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.Remove(file.Name())) }()
	_, err = fmt.Fprintf(file, "%x\n", secret)
	if err := errors.Join(err, file.Sync(), file.Close()); err != nil {
		return err
	}
	err = os.Link(file.Name(), path) // unlike a rename it replaces nothing
	switch {
	case errors.Is(err, fs.ErrExist):
		return fmt.Errorf("%s: %w: a secret is made once and stays; read this one", path, fs.ErrExist)
	case err != nil:
		return err
	}
	return syncFolder(folder)
}

func syncFolder(folder string) error {
	if runtime.GOOS == "windows" {
		return nil // has no such call
	}
	d, err := os.Open(folder)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
