package backup

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"math"
	"sort"
	"strconv"
	"strings"
	"time"
)

// node is one entry of a folder listing, with the fields in restic's order:
// equal folders of two writers then have equal bytes.
type node struct {
	Name       string      `json:"name"` // quoted as by strconv.Quote, without the quotes
	Type       string      `json:"type"`
	Mode       fs.FileMode `json:"mode,omitempty"`
	ModTime    time.Time   `json:"mtime,omitzero"`
	AccessTime time.Time   `json:"atime,omitzero"`
	ChangeTime time.Time   `json:"ctime,omitzero"`
	UID        uint32      `json:"uid"`
	GID        uint32      `json:"gid"`
	Inode      uint64      `json:"inode,omitempty"`
	Size       uint64      `json:"size,omitempty"`
	Links      uint64      `json:"links,omitempty"`
	LinkTarget string      `json:"linktarget,omitempty"`
	Content    []blobID    `json:"content"`
	Subtree    *blobID     `json:"subtree,omitempty"`
}

type treeJSON struct {
	Nodes []*node `json:"nodes"`
}

const (
	nodeFile = "file"
	nodeDir  = "dir"
	nodeLink = "symlink"
)

// encodeTree sorts by raw name and writes the bytes that restic would.
func encodeTree(nodes map[string]*node) ([]byte, error) {
	names := make([]string, 0, len(nodes))
	for name := range nodes {
		names = append(names, name)
	}
	sort.Strings(names)
	tree := treeJSON{Nodes: make([]*node, 0, len(names))}
	for _, name := range names {
		n := nodes[name]
		quoted := strconv.Quote(name)
		n.Name = quoted[1 : len(quoted)-1]
		tree.Nodes = append(tree.Nodes, n)
	}
	var out bytes.Buffer
	if err := json.NewEncoder(&out).Encode(tree); err != nil { // ends with the one newline that restic writes
		return nil, err
	}
	return out.Bytes(), nil
}

// decodeTree returns the entries in stored order, names unquoted and proved
// harmless, duplicates refused.
func decodeTree(document []byte) ([]*node, error) {
	var in treeJSON
	if err := json.Unmarshal(document, &in); err != nil {
		return nil, corrupt("a folder listing of another shape")
	}
	seen := make(map[string]bool, len(in.Nodes))
	for _, n := range in.Nodes {
		if n == nil {
			return nil, corrupt("a folder listing with an empty entry")
		}
		name, err := strconv.Unquote(`"` + n.Name + `"`)
		if err != nil {
			return nil, corrupt("a folder listing with a name that does not unquote")
		}
		if !safeName(name) || seen[name] {
			return nil, ErrUnsafeName
		}
		seen[name] = true
		n.Name = name
		if n.Type == nodeDir && n.Subtree == nil {
			return nil, corrupt("a folder without listing")
		}
		if n.Size > math.MaxInt64 {
			return nil, corrupt("a file of impossible size")
		}
	}
	return in.Nodes, nil
}

// safeName refuses everything that is not the plain name of one entry.
func safeName(name string) bool {
	return name != "" && name != "." && name != ".." && len(name) <= maxForeign && !strings.ContainsAny(name, "/\x00")
}
