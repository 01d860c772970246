package alone

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"runtime"

	"github.com/crmguard/crmguard/internal/durable"
)

// form is what a file of a secret holds, in the operator's words.
const form = "a secret is one line of 64 lower-case hex digits (32 random bytes)"

// Read reads a secret from the file that [Create] made: one line of 64
// lower-case hex digits. On unix the file must be closed to group and others.
// No error shows what the file holds.
func Read(path string) (Secret, error) {
	file, err := durable.OpenPlain(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return Secret{}, fmt.Errorf("%w: make it once (NewKeysFile), or bring it back if it was there before: with another one nothing verifies or opens that this one tagged or sealed", err)
	case errors.Is(err, durable.ErrNotPlain):
		return Secret{}, fmt.Errorf("%w: %s in a file of its own", err, form)
	case err != nil:
		return Secret{}, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return Secret{}, err
	}
	if err := private(path, info); err != nil {
		return Secret{}, err
	}
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
	if mode := info.Mode(); runtime.GOOS != "windows" && mode.Perm()&0o077 != 0 {
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
// Create returns nil or fs.ErrExist. A killed Create may leave .secret-… beside it, which
// the next one removes.
func Create(path string) error {
	folder, err := durable.Open(filepath.Dir(path), ".secret-")
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%w: make the folder first, for the application's user alone", err)
	case err != nil:
		return err
	}
	defer folder.Close()
	return create(folder, path)
}

func create(folder *durable.Folder, path string) error {
	secret := make([]byte, keySize)
	_, _ = rand.Read(secret) // never fails
	folder.CleanUp(".")
	err := folder.Create(filepath.Base(path), fmt.Appendf(nil, "%x\n", secret), 0o600)
	if errors.Is(err, fs.ErrExist) {
		// Whoever made it may have been killed before its name was on disk.
		if err := folder.Sync("."); err != nil {
			return err
		}
		return fmt.Errorf("%s: %w: a secret is made once and stays; read this one", path, fs.ErrExist)
	}
	return err
}
