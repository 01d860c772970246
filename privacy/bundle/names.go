package bundle

import (
	"path"
	"strings"
)

const maxName = 80 // characters of a table's name in the name of a file

// fileName makes of a table's name one that every disk takes.
func fileName(table string) string {
	name := strings.Map(func(c rune) rune {
		if isLetterOrDigit(c) || c == '_' || c == '-' || c == '.' {
			return c
		}
		return '_'
	}, table)
	name = strings.Trim(strings.ReplaceAll(name[:min(len(name), maxName)], "..", "__"), ".")
	first, _, _ := strings.Cut(strings.ToLower(name), ".")
	switch first {
	case "", "con", "prn", "aux", "nul", // devices of Windows, whatever comes after a point
		"com1", "com2", "com3", "com4", "com5", "com6", "com7", "com8", "com9",
		"lpt1", "lpt2", "lpt3", "lpt4", "lpt5", "lpt6", "lpt7", "lpt8", "lpt9":
		return "_" + name
	}
	return name
}

func isLetterOrDigit(c rune) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}

// extension is the extension of an uploaded file's name where nothing that
// opens such a file runs code in it, otherwise ".bin": a page or a script that
// somebody else has uploaded would run on the person's own computer.
func extension(name string) string {
	ext := strings.ToLower(path.Ext(name))
	switch ext {
	case "":
		return ".bin"
	case ".pdf", ".txt", ".csv", ".json", ".rtf", ".md", ".eml", ".msg", ".vcf", ".ics",
		".png", ".jpg", ".jpeg", ".gif", ".webp", ".bmp", ".tif", ".tiff", ".heic", ".avif",
		".mp3", ".m4a", ".wav", ".ogg", ".opus", ".flac", ".mp4", ".webm", ".mov", ".avi", ".mkv",
		".docx", ".xlsx", ".pptx", ".odt", ".ods", ".odp", ".zip", ".gz", ".7z":
		return ext
	}
	return ".bin"
}
