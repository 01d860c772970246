package encryption

import "github.com/crmguard/crmguard/encryption/internal/keyring"

func (c Config) permitsKEK(name string) bool { return c.ring().PermitsKEK(name) }

func (c Config) checkKEKs() error { return keyring.CheckKEKs(c.KEKs) }

// firstKEK is the name of the first KEK where nobody chose one.
func (c Config) firstKEK() string {
	if c.permitsKEK(DefaultKEK) {
		return DefaultKEK
	}
	for _, entry := range c.KEKs {
		if !keyring.IsKEKPrefix(entry) {
			return entry
		}
	}
	return DefaultKEK // Create refuses it
}
