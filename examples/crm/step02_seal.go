package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// sealedScan fills the rest of the CRM (deals, activities, attachments), and
// then looks at the live files as a thief would: every sealed value of 8
// bytes or more is searched in the raw bytes.
func sealedScan(ctx context.Context, c *crm) error {
	if err := c.fill(ctx); err != nil {
		return err
	}
	said, err := c.clearText(ctx)
	if err != nil {
		return err
	}
	total, own, leftOut, found, files := 0, 0, 0, 0, 0
	var where string
	for people := range slices.Chunk(c.people, scanAtOnce) {
		values, tooShort := valuesOf(people)
		// What a clear column or the machinery says anyway ("Anderson" in the
		// name of a company) proves nothing about the seal.
		excused := map[string]bool{}
		values.scan(said, func(n needle) { excused[string(n.bytes)] = true })
		for _, n := range values.patterns {
			if n.label != freeText && !excused[string(n.bytes)] {
				own++
			}
		}
		total, leftOut, files = total+len(values.patterns)-len(excused), leftOut+len(excused)+tooShort, 0
		err := eachFile(c.live.dir, func(path string, file *os.File) error {
			files++
			return values.scanReader(file, func(n needle) {
				if !excused[string(n.bytes)] {
					found++
					where = fmt.Sprintf("a value of %s in %s", n.label, filepath.Base(path))
				}
			})
		})
		if err != nil {
			return err
		}
		c.out.progress("sealed values searched,", total, total)
	}
	c.figures["values"], c.figures["left_out"], c.figures["found"], c.figures["from_file"] = total, leftOut, found, own
	c.out.say("sealed under each person's own key: %s contacts, %s deals, %s activities, %s attachments", thousands(len(c.people)), thousands(c.counts["deals"]), thousands(c.counts["activities"]), thousands(c.counts["attachments"]))
	c.out.say("raw scan of %d live files for %s sealed values of 8 bytes or more: %d found (%s left out, because a clear column or the machinery says the same, or chance would write it)", files, thousands(total), found, thousands(leftOut))
	if own == 0 {
		c.partNotShown("seal", "values", "no sealed value of the file is long and distinct enough to be searched in raw bytes; only the notes about people were")
	}
	return expectThat(found == 0, "no sealed value in the raw bytes of the live files", "%d, the last one %s", found, where)
}

const (
	scanAtOnce = 20_000 // people whose values are searched in one pass
	freeText   = "free text"
)

// valuesOf are the sealed values of people that chance does not write: up to
// ten hexadecimal digits come up in the random ids of a large CRM. It counts
// those that it leaves out.
func valuesOf(people []*person) (values *needles, tooShort int) {
	values = newNeedles()
	for _, p := range people {
		for name, value := range p.sealedValues() {
			switch {
			case len(value) > 10 || strings.Trim(value, "0123456789abcdefABCDEF-") != "":
				values.add(name, []byte(value))
			case len(value) >= shortest:
				tooShort++
			}
		}
		for _, text := range p.texts {
			values.add(freeText, []byte(text))
		}
	}
	return values, tooShort
}

// eachFile opens every file below a folder.
func eachFile(dir string, look func(path string, file *os.File) error) error {
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		file, err := os.Open(path)
		if err != nil {
			return err
		}
		return errors.Join(look(path, file), file.Close())
	})
}

// clearField names what the data map declares as shared.
func clearField(name string) bool {
	return name == "country" || name == "language" || name == "company"
}

// clearText is everything that stands in clear by declaration: companies,
// countries and languages of the file, the schema, the words of the machinery.
func (c *crm) clearText(ctx context.Context) ([]byte, error) {
	machinery, err := c.machineryText(ctx)
	if err != nil {
		return nil, err
	}
	said := map[string]bool{}
	for _, p := range c.people {
		for name, value := range p.values {
			if clearField(name) {
				said[value] = true
			}
		}
	}
	var out strings.Builder
	out.WriteString(machinery)
	for value := range said {
		out.WriteString("\x00" + value)
	}
	return []byte(out.String()), nil
}
