package privacy

// FailDisk lets writes and flushes of the ledger's file end as ask says,
// before they happen.
func (l *Ledger) FailDisk(ask func(step string) error) {
	l.open = func(path string) (ledgerHandle, error) {
		f, err := openFile(path)
		return askingFile{f, ask}, err
	}
}

type askingFile struct {
	ledgerHandle
	ask func(step string) error
}

func (f askingFile) Write(p []byte) (int, error) {
	if err := f.ask("write"); err != nil {
		n, _ := f.ledgerHandle.Write(p[:len(p)/2]) // a full disk takes a part
		return n, err
	}
	return f.ledgerHandle.Write(p)
}

func (f askingFile) Sync() error {
	if err := f.ask("sync"); err != nil {
		return err
	}
	return f.ledgerHandle.Sync()
}

func (f askingFile) Truncate(size int64) error {
	if err := f.ask("truncate"); err != nil {
		return err
	}
	return f.ledgerHandle.Truncate(size)
}
