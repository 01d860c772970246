package tilesink

// FailSync lets every flush of a folder end as f says, before it happens.
func (d *Dir) FailSync(f func(folder string) error) {
	sync := d.sync
	d.sync = func(folder string) error {
		if err := f(folder); err != nil {
			return err
		}
		return sync(folder)
	}
}
