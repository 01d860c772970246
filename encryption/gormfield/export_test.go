package gormfield

// ReadAhead sets how many rows are read before the first of them is opened.
func (p *Plugin) ReadAhead(n int) { p.ahead = n }
