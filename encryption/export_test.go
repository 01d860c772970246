package encryption

import "path/filepath"

// FailDisk makes the vault's key copies go to a disk that asks first: an error
// of ask is the outcome of that step, which is not carried out.
func (v *Vault) FailDisk(ask func(step string) error) { v.disk = askingDisk{osCopyDisk{}, ask} }

type askingDisk struct {
	copyDisk
	ask func(step string) error
}

func (d askingDisk) create(dir string) (copyFile, error) {
	if err := d.ask("create"); err != nil {
		return nil, err
	}
	f, err := d.copyDisk.create(dir)
	return askingFile{f, d.ask}, err
}

func (d askingDisk) rename(from, to string) error {
	if err := d.ask("rename"); err != nil {
		return err
	}
	return d.copyDisk.rename(from, to)
}

func (d askingDisk) remove(name string) error {
	step := "remove unfinished"
	if matches(copyPattern, filepath.Base(name)) {
		step = "remove older"
	}
	if err := d.ask(step); err != nil {
		return err
	}
	return d.copyDisk.remove(name)
}

func (d askingDisk) syncFolder(dir string) error {
	if err := d.ask("sync folder"); err != nil {
		return err
	}
	return d.copyDisk.syncFolder(dir)
}

type askingFile struct {
	copyFile
	ask func(step string) error
}

func (f askingFile) Write(p []byte) (int, error) {
	if err := f.ask("write"); err != nil {
		return 0, err
	}
	return f.copyFile.Write(p)
}

func (f askingFile) Sync() error {
	if err := f.ask("sync"); err != nil {
		return err
	}
	return f.copyFile.Sync()
}

func (f askingFile) Close() error {
	err := f.copyFile.Close()
	if asked := f.ask("close"); asked != nil {
		return asked
	}
	return err
}
