package encryption

func (c Config) permitsKEK(name string) bool { return c.ring().permitsKEK(name) }

func (c Config) checkKEKs() error { return checkKEKs(c.KEKs) }

// firstKEK is the name of the first KEK where nobody chose one.
func (c Config) firstKEK() string {
	if c.permitsKEK(DefaultKEK) {
		return DefaultKEK
	}
	for _, entry := range c.KEKs {
		if !isKEKPrefix(entry) {
			return entry
		}
	}
	return DefaultKEK // Create refuses it
}
