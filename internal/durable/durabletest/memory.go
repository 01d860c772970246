package durabletest

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2" //nolint:depguard // a crash that can be repeated, for tests
	"os"
	"path"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/crmguard/crmguard/internal/durable"
	"github.com/crmguard/crmguard/internal/filelock"
)

// ErrPower is what every step answers once the power is gone.
var ErrPower = errors.New("durabletest: the power is gone")

// Memory is a disk in memory, and what a crash leaves of it. A crash keeps of
// each file what was flushed, and of later writes any part of it in any order;
// of each folder the names that were flushed, and of later changes any
// selection. It keeps no order between files and folders, as no file system
// has to.
type Memory struct {
	// NoLinks makes it a file system without hard links.
	NoLinks bool
	// Log are the steps that changed or flushed something.
	Log []string

	chance *rand.Rand
	mu     sync.Mutex
	top    *inode
	fails  int // the step at which the power fails; 0 never
	steps  int
	life   int // crashes and kills so far: older handles are dead
}

var _ durable.Disk = (*Memory)(nil)

type inode struct {
	mode    fs.FileMode
	data    []byte
	flushed []byte
	names   map[string]*inode
	kept    map[string]*inode // flushed
	pending []change
	holder  *handle
	modTime time.Time
}

type change struct {
	name string
	node *inode // nil: the name goes
}

// NewMemory returns an empty disk whose crashes are the same for equal seeds.
func NewMemory(seed uint64) *Memory {
	return &Memory{chance: rand.New(rand.NewPCG(seed, 1)), top: newInode(fs.ModeDir | 0o700)}
}

func newInode(mode fs.FileMode) *inode {
	n := &inode{mode: mode, modTime: time.Now()}
	if mode.IsDir() {
		n.names, n.kept = map[string]*inode{}, map[string]*inode{}
	}
	return n
}

// FailAt lets the power fail at a step, counted from now on.
func (m *Memory) FailAt(step int) { m.fails, m.steps = step, 0 }

// Failed says whether it has failed.
func (m *Memory) Failed() bool { return m.fails > 0 && m.steps >= m.fails }

// Kill ends the process that used the disk, and nothing else.
func (m *Memory) Kill() {
	m.fails = 0
	m.life++
}

// Crash cuts the power and brings it back.
func (m *Memory) Crash() {
	m.Kill()
	seen := map[*inode]bool{}
	m.lose(m.top, seen)
}

func (m *Memory) lose(n *inode, seen map[*inode]bool) {
	if seen[n] {
		return
	}
	seen[n] = true
	if !n.mode.IsDir() {
		n.data = m.torn(n.flushed, n.data)
		n.flushed = bytes.Clone(n.data)
		return
	}
	n.names = map[string]*inode{}
	maps.Copy(n.names, n.kept)
	for _, c := range n.pending {
		switch {
		case m.chance.IntN(2) == 0: // lost
		case c.node == nil:
			delete(n.names, c.name)
		default:
			n.names[c.name] = c.node
		}
	}
	n.flush()
	for _, name := range n.sorted() {
		m.lose(n.names[name], seen)
	}
}

// torn is what may be there of a file that was not flushed.
func (m *Memory) torn(old, now []byte) []byte {
	sizes := []int{len(old), len(now), min(len(old), len(now)) + m.chance.IntN(max(len(old), len(now))-min(len(old), len(now))+1)}
	out := make([]byte, sizes[m.chance.IntN(len(sizes))])
	const sector = 4
	for begin := 0; begin < len(out); begin += sector {
		from := [][]byte{old, now}[m.chance.IntN(2)] // zeros behind the old end
		copy(out[begin:min(begin+sector, len(out))], part(from, begin, sector))
	}
	return out
}

func part(b []byte, begin, n int) []byte { return b[min(begin, len(b)):min(begin+n, len(b))] }

func (n *inode) flush() {
	n.pending = nil
	n.flushed = bytes.Clone(n.data)
	n.kept = map[string]*inode{}
	maps.Copy(n.kept, n.names)
}

func (n *inode) sorted() []string {
	var names []string
	for name := range n.names {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func (n *inode) set(name string, node *inode) {
	if node == nil {
		delete(n.names, name)
	} else {
		n.names[name] = node
	}
	n.pending = append(n.pending, change{name, node})
}

// step counts one, and says whether there is power. What is under way when it
// fails may or may not happen.
func (m *Memory) step(what string) (happens bool, err error) {
	m.steps++
	switch {
	case m.fails > 0 && m.steps > m.fails:
		return false, ErrPower
	case m.fails > 0 && m.steps == m.fails:
		return m.chance.IntN(2) == 0, ErrPower
	}
	m.Log = append(m.Log, what)
	return true, nil
}

// find returns the folder of a name and what stands under it.
func (m *Memory) find(op, name string) (folder, node *inode, err error) {
	if name == "." {
		return nil, m.top, nil
	}
	if !fs.ValidPath(name) {
		return nil, nil, &fs.PathError{Op: op, Path: name, Err: fs.ErrInvalid}
	}
	folder = m.top
	if dir := path.Dir(name); dir != "." {
		if _, folder, err = m.find(op, dir); err != nil {
			return nil, nil, err
		}
		if !folder.mode.IsDir() {
			return nil, nil, &fs.PathError{Op: op, Path: name, Err: syscall.ENOTDIR}
		}
	}
	if node = folder.names[path.Base(name)]; node == nil {
		err = &fs.PathError{Op: op, Path: name, Err: fs.ErrNotExist}
	}
	return folder, node, err
}

// Open is [durable.Disk.Open].
func (m *Memory) Open(name string, flag int, mode fs.FileMode) (durable.File, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	folder, node, err := m.find("open", name)
	if flag&os.O_CREATE == 0 {
		if err == nil && m.fails > 0 && m.steps >= m.fails {
			err = ErrPower
		}
		if err != nil {
			return nil, err
		}
		return &handle{m: m, node: node, name: name, life: m.life}, nil
	}
	if err == nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrExist}
	}
	if folder == nil {
		return nil, err
	}
	happens, err := m.step("create " + name)
	node = newInode(mode)
	if happens {
		folder.set(path.Base(name), node)
	}
	if err != nil {
		return nil, err
	}
	return &handle{m: m, node: node, name: name, life: m.life}, nil
}

// Link is [durable.Disk.Link].
func (m *Memory) Link(from, to string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.NoLinks {
		return &os.LinkError{Op: "link", Old: from, New: to, Err: syscall.EPERM}
	}
	_, node, err := m.find("link", from)
	if err != nil {
		return err
	}
	folder, there, err := m.find("link", to)
	if there != nil {
		return &os.LinkError{Op: "link", Old: from, New: to, Err: fs.ErrExist}
	}
	if folder == nil {
		return err
	}
	happens, err := m.step("link " + to)
	if happens {
		folder.set(path.Base(to), node)
	}
	return err
}

// Rename is [durable.Disk.Rename].
func (m *Memory) Rename(from, to string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	source, node, err := m.find("rename", from)
	if err != nil {
		return err
	}
	folder, there, err := m.find("rename", to)
	if folder == nil {
		return err
	}
	if there != nil && there.mode.IsDir() {
		return &os.LinkError{Op: "rename", Old: from, New: to, Err: fs.ErrExist}
	}
	happens, err := m.step("rename " + to)
	if happens {
		folder.set(path.Base(to), node)
		source.set(path.Base(from), nil)
	}
	return err
}

// Remove is [durable.Disk.Remove].
func (m *Memory) Remove(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	folder, node, err := m.find("remove", name)
	if err != nil {
		return err
	}
	if folder == nil || len(node.names) > 0 {
		return &fs.PathError{Op: "remove", Path: name, Err: syscall.ENOTEMPTY}
	}
	happens, err := m.step("remove " + name)
	if happens {
		folder.set(path.Base(name), nil)
	}
	return err
}

// Mkdir is [durable.Disk.Mkdir].
func (m *Memory) Mkdir(name string, mode fs.FileMode) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	folder, there, err := m.find("mkdir", name)
	if there != nil {
		return &fs.PathError{Op: "mkdir", Path: name, Err: fs.ErrExist}
	}
	if folder == nil {
		return err
	}
	happens, err := m.step("mkdir " + name)
	if happens {
		folder.set(path.Base(name), newInode(mode|fs.ModeDir))
	}
	return err
}

// Lstat is [durable.Disk.Lstat].
func (m *Memory) Lstat(name string) (fs.FileInfo, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	_, node, err := m.find("lstat", name)
	if err != nil {
		return nil, err
	}
	return node.info(path.Base(name)), nil
}

// Read returns what a file holds, and Names what a folder shows.
func (m *Memory) Read(name string) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	_, node, err := m.find("read", name)
	if err != nil {
		return nil, err
	}
	return bytes.Clone(node.data), nil
}

// Names are those in a folder, sorted.
func (m *Memory) Names(dir string) ([]string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	_, node, err := m.find("read", dir)
	if err != nil {
		return nil, err
	}
	return node.sorted(), nil
}

type handle struct {
	m    *Memory
	node *inode
	name string
	life int
}

func (h *handle) dead() error {
	if h.life != h.m.life {
		return ErrPower
	}
	return nil
}

func (h *handle) ReadAt(p []byte, off int64) (int, error) {
	h.m.mu.Lock()
	defer h.m.mu.Unlock()
	if err := h.dead(); err != nil {
		return 0, err
	}
	n := copy(p, part(h.node.data, int(off), len(p)))
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (h *handle) WriteAt(p []byte, off int64) (int, error) {
	h.m.mu.Lock()
	defer h.m.mu.Unlock()
	if err := h.dead(); err != nil {
		return 0, err
	}
	happens, err := h.m.step("write " + h.name)
	if happens && err != nil {
		p = p[:h.m.chance.IntN(len(p)+1)]
	}
	if !happens {
		return 0, err
	}
	data := bytes.Clone(h.node.data)
	for len(data) < int(off)+len(p) {
		data = append(data, 0)
	}
	copy(data[off:], p)
	h.node.data, h.node.modTime = data, time.Now()
	return len(p), err
}

func (h *handle) Truncate(size int64) error {
	h.m.mu.Lock()
	defer h.m.mu.Unlock()
	if err := h.dead(); err != nil {
		return err
	}
	happens, err := h.m.step("truncate " + h.name)
	if happens {
		h.node.data = bytes.Clone(part(h.node.data, 0, int(size)))
	}
	return err
}

func (h *handle) Sync() error {
	h.m.mu.Lock()
	defer h.m.mu.Unlock()
	if err := h.dead(); err != nil {
		return err
	}
	happens, err := h.m.step("sync " + h.name)
	if happens {
		h.node.flush()
	}
	return err
}

func (h *handle) Stat() (fs.FileInfo, error) {
	h.m.mu.Lock()
	defer h.m.mu.Unlock()
	return h.node.info(path.Base(h.name)), h.dead()
}

func (h *handle) Close() error {
	h.m.mu.Lock()
	defer h.m.mu.Unlock()
	if h.node.holder == h {
		h.node.holder = nil
	}
	return nil
}

// ReadDir is [durable.Lister.ReadDir].
func (h *handle) ReadDir(n int) ([]fs.DirEntry, error) {
	h.m.mu.Lock()
	defer h.m.mu.Unlock()
	if !h.node.mode.IsDir() {
		return nil, &fs.PathError{Op: "readdir", Path: h.name, Err: syscall.ENOTDIR}
	}
	var out []fs.DirEntry
	for _, name := range h.node.sorted() {
		out = append(out, fs.FileInfoToDirEntry(h.node.names[name].info(name)))
	}
	if n > 0 && len(out) > n {
		out = out[:n]
	}
	return out, h.dead()
}

// Hold is [durable.Locker.Hold].
func (h *handle) Hold(func() (fs.FileInfo, error)) error {
	if held, err := h.TryLock(); err != nil || !held {
		return errors.Join(err, filelock.ErrSwept)
	}
	h.m.mu.Lock()
	defer h.m.mu.Unlock()
	if _, node, err := h.m.find("lstat", h.name); err != nil || node != h.node {
		return filelock.ErrSwept
	}
	return nil
}

// TryLock is [durable.Locker.TryLock].
func (h *handle) TryLock() (bool, error) {
	h.m.mu.Lock()
	defer h.m.mu.Unlock()
	if h.node.holder != nil && h.node.holder != h && h.node.holder.life == h.m.life {
		return false, nil
	}
	h.node.holder = h
	return true, nil
}

type info struct {
	name string
	node *inode
	size int64
}

func (n *inode) info(name string) fs.FileInfo { return info{name, n, int64(len(n.data))} }

func (i info) Name() string       { return i.name }
func (i info) Size() int64        { return i.size }
func (i info) Mode() fs.FileMode  { return i.node.mode }
func (i info) ModTime() time.Time { return i.node.modTime }
func (i info) IsDir() bool        { return i.node.mode.IsDir() }
func (i info) Sys() any           { return nil }
