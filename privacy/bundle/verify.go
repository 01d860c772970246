package bundle

import (
	"archive/zip"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
)

// maxManifest bounds what is read of a manifest before it is understood.
const maxManifest = 64 << 20

// Verify checks a bundle, after decryption: every file that the manifest names
// is there with its digest, size and rows, and no other. Memory is bounded by the
// manifest.
func Verify(r io.ReaderAt, size int64) (*Manifest, error) {
	z, err := zip.NewReader(r, size)
	if err != nil {
		return nil, fmt.Errorf("%w: no ZIP", ErrManifest)
	}
	files := map[string]*zip.File{}
	for _, f := range z.File {
		if files[f.Name] != nil {
			return nil, fmt.Errorf("%w: a file stands twice", ErrManifest)
		}
		files[f.Name] = f
	}
	var data strings.Builder
	if err := read(files[manifestName], maxManifest, &data); err != nil {
		return nil, err
	}
	m, err := ParseManifest([]byte(data.String()))
	if err != nil {
		return nil, err
	}
	if len(files) != len(m.Files)+1 {
		return nil, fmt.Errorf("%w: %d files, %d listed", ErrManifest, len(files)-1, len(m.Files))
	}
	for _, f := range m.Files {
		got := &measure{out: io.Discard, hash: sha256.New()}
		if err := read(files[f.Name], f.Bytes, got); err != nil {
			return nil, err
		}
		if hex.EncodeToString(got.hash.Sum(nil)) != f.SHA256 || got.bytes != f.Bytes {
			return nil, fmt.Errorf("%w: digest or size of a file", ErrManifest)
		}
		if strings.HasSuffix(f.Name, ".ndjson") && got.lines != f.Rows {
			return nil, fmt.Errorf("%w: rows of a file", ErrManifest)
		}
	}
	return m, nil
}

// read reads a file that is not larger than most.
func read(f *zip.File, most int64, w io.Writer) error {
	if f == nil {
		return fmt.Errorf("%w: a file is missing", ErrManifest)
	}
	r, err := f.Open()
	if err != nil {
		return fmt.Errorf("%w: a file does not open", ErrManifest)
	}
	n, err := io.Copy(w, io.LimitReader(r, most+1))
	if err := errors.Join(err, r.Close()); err != nil || n > most {
		return fmt.Errorf("%w: a file does not read, or is too large", ErrManifest)
	}
	return nil
}
