package keystore

// Inventory says which keys there are, for reports: Vault.Inventory of package
// encryption. Vault.Status says what is wrong with them.
type Inventory struct {
	Store    string            // id of the key store
	Epoch    int64             // current epoch
	Sequence int64             // of the last change
	KEK      string            // name of the KEK for new keysets
	Retiring []string          // names of the KEKs that go once the epoch that is half closed is closed
	Tenants  []TenantInventory // sorted by name
}

// TenantInventory is the part of an Inventory about one tenant.
type TenantInventory struct {
	Tenant      string                     // its name
	KeyVersions map[uint32]KeyVersionState // every one it ever had
	KEKs        []string                   // names of the KEKs that its keysets name: that of its branch key
	MostSeals   uint64                     // of one key that seals: allotted by the key store, or counted by the process that reports
}
