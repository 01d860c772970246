package main

import (
	"bufio"
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// chance is a repeatable stream of random bytes: all runs back up one tree.
type chance struct{ cipher.Stream }

func newChance(seed byte) (chance, error) {
	block, err := aes.NewCipher([]byte{15: seed})
	if err != nil {
		return chance{}, err
	}
	return chance{cipher.NewCTR(block, make([]byte, aes.BlockSize))}, nil
}

func (c chance) Read(p []byte) (int, error) {
	clear(p)
	c.XORKeyStream(p, p)
	return len(p), nil
}

func (c chance) below(n int) int {
	var b [8]byte
	_, _ = c.Read(b[:])
	return int(binary.BigEndian.Uint64(b[:]) % uint64(n))
}

// growTree fills dir with about size bytes: two fifths random, as photos and
// scans are, the rest CSV, as exports are.
func growTree(dir string, size int) error {
	const files = 40
	for i := range files {
		r, err := newChance(byte(i))
		if err != nil {
			return err
		}
		name, fill := fmt.Sprintf("exports/%02d/contacts.csv", i), fillCSV
		if i%5 < 2 {
			name, fill = fmt.Sprintf("attachments/%02d/scan.bin", i), fillRandom
		}
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return err
		}
		if err := writeFile(path, func(w io.Writer) error { return fill(w, r, size/files) }); err != nil {
			return err
		}
	}
	return nil
}

func writeFile(path string, fill func(io.Writer) error) error {
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	w := bufio.NewWriterSize(file, 1<<20)
	err = fill(w)
	if err == nil {
		err = w.Flush()
	}
	if closing := file.Close(); err == nil {
		err = closing
	}
	return err
}

func fillRandom(w io.Writer, r chance, size int) error {
	_, err := io.CopyN(w, r, int64(size))
	return err
}

func fillCSV(w io.Writer, r chance, size int) error {
	names := []string{"Anna", "Bora", "Chen", "Dilan", "Emil", "Fatou", "Gül", "Hiro", "Ines", "Jonas", "Kofi", "Lea", "Mei", "Nils", "Olga", "Priya"}
	streets := []string{"Bahnhofstrasse", "High Street", "Rue de la Gare", "Nanjing Road", "Via Roma", "Calle Mayor"}
	stages := []string{"lead", "open", "won", "lost"}
	for written := 0; written < size; {
		first, last := names[r.below(len(names))], names[r.below(len(names))]
		n, err := fmt.Fprintf(w, "%08d,%s,%s-%d,%s.%s%d@crm.example,+4144555%04d,%s %d,CH,%s,2026-%02d-%02dT%02d:%02d:00Z,%d.%02d\n",
			r.below(1e8), first, last, r.below(1e4), first, last, r.below(1e6), r.below(1e4), streets[r.below(len(streets))], r.below(200), stages[r.below(len(stages))],
			1+r.below(12), 1+r.below(28), r.below(24), r.below(60), r.below(1e6), r.below(100))
		if err != nil {
			return err
		}
		written += n
	}
	return nil
}

// digestTree is one hash over names and content of all regular files.
func digestTree(fsys fs.FS) (string, error) {
	all, files, size := sha256.New(), 0, int64(0)
	err := fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		file, err := fsys.Open(name)
		if err != nil {
			return err
		}
		defer func() { _ = file.Close() }() // only read
		content := sha256.New()
		n, err := io.Copy(content, file)
		files, size = files+1, size+n
		_, _ = fmt.Fprintf(all, "%q %d %x\n", name, n, content.Sum(nil))
		return err
	})
	return fmt.Sprintf("%d files, %d bytes, %x", files, size, all.Sum(nil)[:8]), err
}
