package sqldb

import (
	"embed"
	"io/fs"
)

// Folder is one of the folders that a package has embedded; where there is none of
// that name, reading it says so.
func Folder(files embed.FS, name string) fs.FS {
	sub, err := fs.Sub(files, name)
	if err != nil {
		return embed.FS{}
	}
	return sub
}
