package keycopy

import (
	"bufio"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io/fs"

	"github.com/crmguard/crmguard/encryption/internal/format"
	"github.com/crmguard/crmguard/encryption/internal/keyring"
	"github.com/crmguard/crmguard/encryption/keystore"
	"github.com/crmguard/crmguard/internal/canon"
	"github.com/crmguard/crmguard/internal/durable"
	"github.com/crmguard/crmguard/internal/frame"
)

// fillCopy writes and flushes all lines that are sound, and says what is not.
// before is the copy that this one is to replace, or none.
func (v *Copies) fillCopy(ctx context.Context, file *durable.Writer, manifest *keyring.Keyset, before source) (name string, e *examiner, err error) {
	if e, err = v.newExaminer(ctx); err != nil {
		return "", nil, err
	}
	err = e.beside(before)
	opened := e
	defer func() { _ = opened.close() }() // only read
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, errCopyChanged) {
		err = errOvertaken // another writer has put a newer one in its place
	}
	if err != nil {
		return "", nil, err
	}
	w := &copyWriter{out: bufio.NewWriter(file), sum: sha256.New()}
	e.emit = func(line []byte) error {
		w.count++
		return w.write(line)
	}
	var sequence int64
	err = v.cfg.Keys.Snapshot(ctx, func(tx keystore.Tx) error {
		state, err := tx.State(ctx)
		if err != nil {
			return err
		}
		sequence = state.Sequence
		err = w.line(copyHeader{V: 1, Store: state.Store, Epoch: state.Epoch, Sequence: state.Sequence, Written: canon.FormatTime(v.cfg.Now()), KEK: state.KEK, Lease: state.LeaseWait.Microseconds(), Retiring: state.Retiring})
		if err != nil {
			return err
		}
		return e.walk(ctx, tx)
	})
	if errors.Is(err, errOvertaken) {
		return "", nil, err
	}
	if err != nil { // of the key store, but for what is marked as an error of the copy
		return "", nil, keyring.StoreError(err)
	}
	if err = w.end(manifest, e.found.count); err == nil {
		err = errors.Join(w.out.Flush(), file.Flush())
	}
	if err != nil {
		return "", nil, notWritten(err)
	}
	if e.found.count > 0 {
		return holesName(sequence), e, nil
	}
	return copyName(sequence), e, nil
}

// copyKinds are the kinds of rows in their order in a copy.
func copyKinds() []keystore.Kind {
	return []keystore.Kind{keystore.KindKeyset, keystore.KindKeyVersion, keystore.KindOwner, keystore.KindKey, keystore.KindAlias, keystore.KindIndex, keystore.KindMark}
}

type copyWriter struct {
	out   *bufio.Writer
	sum   hash.Hash
	count int
}

func (w *copyWriter) line(v any) error {
	data, err := canon.Marshal(v)
	if err != nil {
		return notWritten(err)
	}
	return w.write(data)
}

func (w *copyWriter) write(line []byte) error {
	line = append(line, '\n')
	w.sum.Write(line)
	if _, err := w.out.Write(line); err != nil {
		return notWritten(err)
	}
	return nil
}

// notWritten tells what went wrong with the file from a key store that failed.
func notWritten(err error) error { return fmt.Errorf("%w: write: %w", keyring.ErrCopy, err) }

func (w *copyWriter) end(manifest *keyring.Keyset, holes int) error {
	end := copyEnd{Count: w.count, Holes: holes, SHA256: encode64(w.sum.Sum(nil))}
	input, err := end.authenticated()
	if err != nil {
		return err
	}
	tag, err := keyring.TagWith(manifest, input)
	if err != nil {
		return err
	}
	end.MAC = encode64(tag)
	return w.line(end)
}

// authenticated returns what the mac of the last line is over.
func (e copyEnd) authenticated() ([]byte, error) {
	e.MAC = ""
	line, err := canon.Marshal(e)
	return append(frame.Join(format.CopyDomain), line...), err
}

// verify compares the mac of the last line.
func (e copyEnd) verify(manifest *keyring.Keyset) error {
	input, err := e.authenticated()
	if err != nil {
		return err
	}
	tag, err := decode64(e.MAC)
	if err != nil || keyring.VerifyWith(manifest, input, tag) != nil {
		return fmt.Errorf("%w: its mac does not verify", keyring.ErrCopy)
	}
	return nil
}
