// Package encryption seals the fields of an application under keys of the
// persons they are about, so that a copied database shows nothing, values are
// still found by index, keys rotate while everyone works, and erasing a
// person is the destruction of one small key.
//
// A whole program on PostgreSQL; try and ok stand for what is done about an
// error, and the example FirstLines has the imports and the tables:
//
//	ctx, id, person, mail := context.Background(), "c1", "p1", "Ann@b.example"
//
//	keyDB, db := try(sql.Open("pgx", os.Getenv("KEYS_URL"))), try(sql.Open("pgx", os.Getenv("CRM_URL"))) // two servers
//	ok(sqlkeys.Install(ctx, keyDB))
//	vault := try(encryption.Create(ctx, encryption.Config{ // once; Open with the same at every other start
//		Keys: try(sqlkeys.Open(ctx, keyDB)),
//		KEK:  insecurekeys.Folder(os.Getenv("KEK_FOLDER")), // the key above all keys: a file here, better a KMS
//		Data: []*sql.DB{db},
//	}))
//	ok(vault.AddTenant(ctx, "main")) // a customer of yours with keys of its own, or the only one
//	contacts := try(vault.Table(encryption.Table{Name: "contacts", Columns: []encryption.Column{
//		{Name: "email", Find: encryption.Email}, // found by the column email_idx
//		{Name: "notes"},
//	}}))
//
//	w := try(contacts.Writer(ctx, "main", person)) // the person's key; before BEGIN, good for 5 s
//	try(db.ExecContext(ctx, `INSERT INTO contacts (id, person, email, email_idx) VALUES ($1, $2, $3, $4)`,
//		id, person, w.Text("email", mail), w.Int64("email_idx", mail)))
//
//	where, args := try(contacts.Lookup(ctx, "main", "email_idx", "ANN@b.example")).Postgres("", 1) // Where("") for SQLite and MariaDB
//	var email encryption.Sealed
//	ok(db.QueryRowContext(ctx, `SELECT id, person, email FROM contacts WHERE `+where, args...).Scan(&id, &person, &email))
//	mail = try(try(contacts.Row(ctx, "main", person, id)).Text(ctx, "email", email.Bytes()))
//	fmt.Println(mail) // Ann@b.example
//
//	try(vault.Erase(ctx, "main", person)) // waits for the lease of other processes: 5 s
//
// # The words
//
// A KEK (key encryption key) is the one key that you keep: in a KMS, or in a
// file for a beginning. It wraps the branch key of each tenant, that the
// tenant's keysets (Tink), and these the keys of persons; all of them stand in
// the key store, wrapped. A tenant is a customer whose data nothing else shall
// open. Each person has a random key, and a sealed column of a row is opened by
// the key of the person that its owner column names. Erasing the person is
// destroying that key. A blind index is a column of keyed hashes by which
// sealed values are found. A lease is how long a process goes on without asking
// the key store again. A key version is what rotates.
//
// Config.KEK is a func that answers the name of a KEK ("kek-1") with the key. In
// package github.com/crmguard/crmguard/encryption/insecurekeys Folder takes it
// from a file of that name; the module
// github.com/crmguard/crmguard/examples/kms has AWS KMS, Google Cloud KMS and
// the transit engine of HashiCorp Vault and OpenBao. A KEK that opens a keyset
// as another tenant's is refused. [Config].KEKs says which names are yours.
//
// # Where the keys live
//
// On a server of their own. Erase deletes a key, and a server keeps what is
// deleted in its physical backups, logs and standbys for a while. Where the
// data stands on the same server (one PostgreSQL cluster, one MariaDB server, one
// SQLite file), each of these holds the rows of an erased person beside the
// key, until [Vault.RewrapKeys] has ended the KEK that wraps it. That works, and
// is a promise broken for as long: [Vault.Status] alarms (encryption.store.colocated)
// about the databases in [Config].Data and those that a job was given.
//
// A key is as durable as its database: what was sealed under a key that was
// lost opens nowhere. So
//
//   - take key copies ([Vault.WriteCopy]) with every backup of the data, into
//     another place; [RestoreCopy] makes a key store of the newest one.
//   - a failover to an asynchronous standby can lose the keys of rows that were
//     committed elsewhere: let the standby be synchronous
//     (synchronous_standby_names on PostgreSQL). [Vault.RepairFromCaches] brings
//     back those that a running process still has.
//   - do not let a point-in-time restore of the data take the keys along: it
//     brings back who was erased.
//
// # What it costs
//
// In bytes: a sealed value 33 more than the value (41 bytes a sealed phone number
// of 8); in the text form (Column.Text) 13 more than base64 of that; a blind
// index 8 as BIGINT. In keys: one row with a wrapped key of 65 bytes for each
// person and key version, and less than 1 KB of keysets for each tenant. In time: sealing or
// opening a value, or its index value, is less than a microsecond or about one
// (RESULTS.md of examples/peers), and no call of a server: the keys of the
// persons of a page are one query, and none while they are in memory
// (Config.CacheKeys). A KMS is asked at the start, for a tenant's first use, for
// key copies and for RewrapKeys, never for a value or a person.
//
// Two calls wait on purpose. [Vault.Erase] waits until no other process can have
// the key: a lease, 5 s ([Vault.EraseMany] waits once for all).
// [Vault.DestroyKeyVersion] waits twice for a lease and once for the longest
// transaction: 40 s with the defaults.
//
// # To test an application
//
// [github.com/crmguard/crmguard/encryption/encryptiontest.Vault] is the real
// thing in memory, without files, servers or waiting:
//
//	vault := encryptiontest.Vault(t, "main")
//
// # Rights on the data
//
// The key store has its own (sqlkeys.Grants). On a table of the application the
// columns of the key, the owner, the tenant, sealed values and indexes need
//
//	Census, Counts           SELECT
//	Holder                   SELECT; on MariaDB and MySQL LOCK TABLES, too
//	Reseal                   SELECT, UPDATE of sealed columns
//	Rebuild, RebuildIndexes  SELECT, UPDATE of index columns; for a new index LOCK TABLES as Holder
//	Redact                   SELECT, UPDATE of owner, sealed and index columns
//	ClearRows                SELECT of owner, tenant, sealed and index columns, UPDATE of the last two
//
// # What it promises
//
//   - A sealed field is a Tink AES-256-GCM ciphertext whose associated data is
//     published (formats.md): Tink in any language opens it with the key.
//   - A value opens only in its tenant, table and column, for its owner and,
//     where declared, in its row; RAW keysets and trial decryption do not exist.
//   - Erase is for ever: a tombstone stays, nothing makes a key under it, and
//     when it returns no process that shares the key store opens or seals for
//     the person any more. It waits for the lease, which the key store keeps for
//     all of them: 5 s, unless Create or ChangeLease said otherwise. A lease ends
//     by the monotonic or by the wall clock, whichever says so first, so also in
//     a machine that slept, and a key that came later than it ends is not used.
//     Backups of the data become unreadable with it.
//   - EraseMany waits once for all. What other processes have in memory of
//     everybody else stays there.
//   - After RewrapKeys, and with it the old KEK (keycopy.Rewrap.Destroy, or by hand), every
//     older key copy opens nothing, although not one sealed byte has changed.
//   - A folder of key copies holds the newest only. What a killed writer left
//     unfinished (.keys-…) holds wrapped keys, too, and goes with the next
//     copy: with those of RewrapKeys at the latest. None is deleted before its
//     successor is on disk under its name. A folder with a copy of another key
//     store is refused.
//   - A damaged row of the key store costs what is sealed under it, until a key
//     copy brings it back (RepairFromCopy), and nothing else: all other rows are
//     copied (damaged-keys-…, beside the newest whole copy), the others of its
//     tenant and other tenants go on. A copy that lacks a row never takes the
//     place of one that has it, covers no position, and no epoch is closed over
//     it. Erased persons and destroyed key versions do not come back that way.
//   - Keysets, key versions, owners and keys that the newest copy in the folder has
//     and that are gone, or put back, without a tombstone or a destruction are
//     damaged, too, whoever wrote the tables: marks planted in a history stand for
//     no keys, and a tombstone that was taken away is found.
//   - Keys and merges are erased whatever stands in the table of the owners. Nothing is
//     made for an owner of whom they are there and the row is lost (ErrDamaged).
//   - A key that stands and opens under a tombstone, or under a key version that
//     says it is destroyed, is damaged: to erase and to destroy delete the keys with
//     the row that says so, or before. It stays, and nobody comes back to life,
//     until an operator says which (Erase or DestroyKeyVersion once more take it
//     away for good), unless the newest whole copy has the tombstone or the
//     destruction, or this process did it itself: then it goes.
//   - Reseal never overwrites a concurrent change, and DestroyKeyVersion
//     refuses while a declared holder needs the keys. A value that does not open
//     stops neither Reseal nor Rebuild: it is counted, listed and left as it is.
//     So is a row that the database refuses to change, by whatever state a trigger
//     raises, or whose change a trigger undoes, be it one that is deferred to COMMIT
//     (jobs.Refused); ClearRows and Rebuild say then that they are not done
//     (jobs.RefusedError).
//   - The holder of a table waits for every transaction that is writing to it,
//     however long it takes, prepared ones included, and counts what it leaves.
//     Reseal and Redact commit only under a key version that is active when they
//     have written. No clock of another host shortens any of this.
//   - Keys of new persons are made by any number of processes at once, and none
//     waits for another one's; two that need the same person's key agree on one.
//   - A key copy that covers a position (Vault.Position) holds every key that was
//     committed before the position was taken. A position of a key store that was
//     put back to an older state and used on is not covered, whatever its number.
//   - A key store that is put back while a vault is open is noticed within the
//     lease, and before the vault changes anything in it (ErrRewound): when a
//     change is gone that the vault has seen, the last key that it created, or one
//     of the 64 youngest that it has read, for as long as a standby may lag.
//     After a new start, the folder of key copies tells: a copy there of what the
//     store has lost is neither deleted nor taken for the newest (ErrRewound).
//     Keys that are lost and still in the memory of a process, RepairFromCaches
//     writes back; the vault opens nothing with them.
//   - A KEK is asked once for a tenant: it wraps the tenant's branch key, and that
//     the other keysets. A process that starts asks for the installation and for
//     each tenant that it uses, a key copy once for each tenant, and RewrapKeys,
//     which gives each a new branch key, three times.
//   - The key store says by which KEK a branch key is wrapped, and chooses none: a
//     name that Config.KEKs does not permit is refused (ErrKeyset), alarmed and
//     never asked, nor handed to keycopy.Rewrap.Destroy. Nothing is stored that its KEK
//     has not opened again, nor under one that opens it as another tenant's.
//   - A KEK that hangs keeps nobody longer than the context or Config.KEKTimeout
//     (which each call has: five where a keyset is made), whether it looks at contexts
//     or not, and no other tenant at all. One that went with an epoch which another
//     process has closed meanwhile is none that fails: the store is read once more. What
//     several need at once is one call. After a failure a keyset is asked for
//     again after a second, then ever more seldom, up to a minute (an hour while
//     calls hang that never come back); ErrKEK says when. Open, key copies and
//     RewrapKeys ask at once, and where they succeed all others go on.
//   - A search by index never misses rows in silence: an index that was added
//     later is searched once the processes that do not know it are shut out of
//     the table (FenceOldWriters), all who wrote to it then have ended, and one
//     unchanging view of the table shows that RebuildIndexes has passed over no
//     row; until then, and after RestoreCopy, Lookup is an error (ErrIncomplete). Keys
//     that a repair brings back come after their indexes were taken out of the search
//     everywhere, and RebuildIndexes takes these in again.
//   - No key seals more than AES-GCM bears (2^32 values with random IVs): beyond
//     the first 2^20 of a process, and from the first one on where the key is the
//     tenant's own, seals are allotted by the key store before they are made; at
//     2^31 the tenant's next key version begins by itself, and after RestoreCopy
//     where some were allotted.
//   - Between Ensure, Writer or Reader and the end of the lease, sealing,
//     opening and tagging use no connection: they are safe in a transaction.
//
// SECURITY.md, "Known faults", lists what is known to break these promises
// today.
//
// # What it does not
//
//   - An attacker on the application's host reads what the application reads.
//     Go cannot promise that a key is wiped from memory.
//   - MAC keys for an audit trail ([Vault.AuditKeys]) leave the vault: whoever has
//     one makes and verifies MACs of one tenant for that use of package audit, and
//     nothing takes it back. No lease is in it, and it opens nothing.
//   - Lengths show unless a column is padded; index columns show equality and
//     frequency, and are not shredded by Erase: clear them (ClearRows).
//   - A cell may be replaced by its own older ciphertext unnoticed; that is
//     what a row seal (package integrity) finds.
//   - A value that comes to its statement later than LongestTransaction after it
//     was sealed, in a process that stood still, may meet a key version that was
//     destroyed meanwhile. Where several servers take writes to one table (Galera,
//     Group Replication, logical replication), a holder sees the transactions of
//     its own server only.
//   - A key copy with its KEK opens who was erased since, until the epoch is
//     closed. A census counts the declared columns and the holders it was
//     told of, nothing else. Disks, swap and replicas are out of reach.
//   - A lease cannot end in a machine whose clocks both stood still, as that of a
//     virtual machine that is frozen or put back, before its clock is set. Clocks
//     are taken to run equally fast: one that gains a tenth on another makes a
//     lease a tenth longer.
//   - Where a key store is put back to a shorter lease than it had, what was granted
//     before lasts for the longer one: end the processes that use it, as with
//     every store that is put back.
//   - A key store that loses the newest keys is not noticed by a process that
//     neither created nor read them: a failover to a standby that lags may cost
//     what was sealed in between, and a vault that was closed meanwhile has only
//     the newest key copy to compare with. Whoever may write the tables can take
//     away keys that are in no copy yet, aliases, and any key by deleting its row
//     and writing that its owner is erased, or its key version destroyed.
//   - Damage is found where a copy is written or an epoch closed, and where a value
//     does not open; nothing looks for it in between. A key in no copy is lost with
//     its row (GiveUp).
//   - The history keeps the newest 20,000 positions (two years of one an hour);
//     a copy does not cover an older one any more.
//   - A person's key counts its first 2^20 seals in each process by itself, and
//     forgets them when the process ends: the bound holds as long as not 2,048
//     processes seal so much for one person without a new key version. A key store
//     that was put back by other means than RestoreCopy has forgotten what was
//     allotted since: begin a new key version.
//   - The library uses algorithms that FIPS 140 approves, and works where only
//     those are allowed (GODEBUG=fips140=only, in which MariaDB's and MySQL's
//     native passwords do not: SHA-1); it is not validated.
//
// # When key store or KEK are away
//
// What still works in a process that was in use before; the ten seconds stand
// for any time longer than the lease:
//
//	                          key store away           KEK away
//	                          at once     for 10 s     for 10 s    for 10 min
//	a Writer in hand          yes         ErrLease     ErrLease    ErrLease
//	a row opened before       yes         ErrStore     yes         yes
//	a Writer, known person    yes         ErrStore     yes         yes
//	a Reader, known person    yes         ErrStore     yes         yes
//	a person's first key      ErrStore    ErrStore     yes         yes
//	Lookup                    yes         ErrStore     yes         yes
//	tags                      yes         yes          yes         yes
//	MAC keys                  yes         ErrStore     yes         yes
//	a tenant not in memory    ErrStore    ErrStore     ErrKEK      ErrKEK
//	Erase                     ErrStore    ErrStore     yes         yes
//	NewKeyVersion             ErrStore    ErrStore     yes         yes
//	WriteCopy                 ErrStore    ErrStore     ErrKEK      ErrKEK
//	AddTenant                 ErrStore    ErrStore     ErrKEK      ErrKEK
//	Open, at the start        ErrStore    ErrStore     ErrKEK      ErrKEK
//
// So an outage of the KMS stops starts, new tenants and key copies, and nothing
// that is in use; one of the key store stops what is sealed for persons after a
// lease, because by then somebody may have been erased.
//
// # Which call first
//
// A table that is full of clear values already, and in use, begins with package
// adoption: it is sealed in stages while everything runs, and goes back at each.
//
// Once: sqlkeys.Install, then Create and AddTenant. At every start: Open, then
// Vault.Table for each table, before anything is sealed. To write: SealedTable.Writer before the
// transaction, Writer.Text in it. To read a page: OpenAll. To search: Lookup,
// then Match on what was opened. Vault.Ensure comes before an import. Who erases
// many persons, as a retention job does, calls EraseMany.
//
// Rooms beside this one have what is not called every day:
//
//   - jobs: options and reports of what walks over whole tables
//   - primitives: the sealers and taggers that a vault hands to other packages
//   - streams: what files and blobs are named by and read with
//   - sealedvalue: the key version that a sealed value names, and its text form
//   - keystore: the states of a key version and the inventory of keys; and all that
//     is needed to write a key store for another database
//   - keycopy: what RewrapKeys takes and answers, what was damaged and repaired; and
//     where there is no vault, as on the machine of whoever restores, to verify a key
//     copy, restore it and repair a key store by itself
//
// # Concurrency
//
// A Vault, a SealedTable, a PersonSealer and the taggers are safe for
// concurrent use, a Writer and a Reader are for one goroutine. Several
// processes may share a key store, and write key copies into one folder. Each
// call of a KEK has a goroutine of its own, which ends with it.
//
// # Errors
//
//	sentinel       lasts      what to do
//	ErrErased      for ever   show "erased"; never retry
//	ErrDestroyed   for ever   the key version is gone; restore newer data
//	ErrNoKey       until fix  the key store lacks a key (was an old one restored?), or the Reader was not asked for this owner
//	ErrOpen        for ever   forged, damaged or moved bytes: look into it
//	ErrKEK         until fix  hand in the KEK that the error names, or wait for its KMS
//	ErrKeyset      until fix  a keyset was planted, comes from elsewhere, or its KEK is not in Config.KEKs
//	ErrStore       temporary  the database of the keys: retry
//	ErrRewound     until fix  an older key store was put in place: stop, look what it lacks (RestoreCopy; a copy that the error names has it; after a failover RepairFromCaches), then Open afresh
//	ErrEmpty       until fix  a lost key file: RestoreCopy; or first start: Create
//	ErrNotEmpty    until fix  Create or RestoreCopy wants an empty store
//	ErrTenant      until fix  empty or unknown: AddTenant
//	ErrID          until fix  the id breaks the rules, is reserved, or a person's is an e-mail address
//	ErrDefinition  until fix  a table, column or index is not declared so, Config lacks something, or names another lease than the key store has
//	ErrIncomplete  until fix  an index may lack rows: call what the error names, FenceOldWriters or RebuildIndexes
//	ErrValue       for ever   a normaliser of yours refused the value: ask for another one
//	ErrExists      for ever   a UNIQUE index has the value already (SealedTable.Exists)
//	ErrLease       temporary  take a new Writer; where key store or KEK were slower than the lease: again
//	ErrMerged      for ever   write for the person merged into
//	ErrInUse       until fix  reseal, or wait until the named snapshot is gone
//	ErrKeyVersion  until fix  the key version is active, or unknown
//	ErrRewrap       until fix  finish the half closed epoch, or name a new KEK
//	ErrCopy        until fix  the key copy is damaged: write a new one
//	ErrDamaged     until fix  rows of the key store are damaged or lost: RepairFromCopy (keycopy.Repair where Open fails); what no copy has: GiveUp, or Erase
//	ErrNotCovered  temporary  write a key copy, or bring a newer one; of another history: one written before the store was put back
//	ErrStream      for ever   as ErrOpen, for a stream
//	ErrTag         for ever   the tag is not of this data
//	ErrTooLarge    until fix  seal it as a stream
//	errors.ErrUnsupported  until fix  the rows stand on a database that is not listed under Databases
//
// KeyError, KEKError, PersonsError and RowsError carry the details, and so do
// RedactedError, RefusedError, NotSearchedError and InUseError of package jobs and
// DamagedError of package keycopy: tables, columns, key versions and positions,
// never values or persons (of a DamagedRow the owner is there for programs, and in
// no text).
//
// # Observation
//
// Config.Observe receives encryption.kek.calls, encryption.keys.fetched,
// encryption.keys.created, encryption.erased, encryption.reseal.rows,
// encryption.reseal.conflicts, encryption.index.rows,
// encryption.holder.writers (transactions that a holder waits for),
// encryption.key_version.destroyed, encryption.key_version.worn (a key had its
// share, the next key version has begun), encryption.copy.rows,
// encryption.repaired and
// encryption.epoch.rewrapped.
//
// [Vault.Status] answers findings, all of them each time; where a tenant is not
// well, a line with its name stands behind the sum, for ten tenants at most:
//
//	encryption.store.rewound           stores       alarm: an older key store was put back
//	encryption.store.durability        settings     alarm: the database loses what was committed (key stores that can tell)
//	encryption.store.replica           sources      notice: the database follows another one (MariaDB)
//	encryption.store.colocated         databases    alarm: on the server of the keys (processes that know one: Config.Data, jobs)
//	encryption.kek.refused             KEKs         alarm: the key store names a KEK that Config.KEKs does not permit
//	encryption.kek.failing             keysets      alarm: they did not open when this process asked last
//	encryption.epoch.closing           KEKs         notice: an epoch is half closed
//	encryption.lease.wait              s            what erasures wait for; notice: a change of the lease was interrupted
//	encryption.key_version.retired      key versions  notice: to be resealed and destroyed
//	encryption.key_version.destroying   key versions  notice: a destruction was interrupted
//	encryption.key_version.deleting     key versions  notice: a destruction was interrupted when some keys were gone
//	encryption.key.seals               seals        most of one key that seals; notice 2^30: the next key version begins at 2^31
//	encryption.copy.age                s            alarm: the last copy failed (processes that take copies)
//	encryption.store.damaged           rows         alarm: found damaged when a copy was last written, or an epoch closed (these processes)
//	encryption.store.stray             rows         notice: keys of erased persons and other rows that should not be there (these processes)
//	encryption.keyset.older            keysets      alarm: older, other or fewer than in the newest key copy (processes that know its folder)
//
// # Format and compatibility
//
// Formats and Go API may change until v0.1.0 (formats.md says how); a sample of
// each format is frozen in testdata and opened by a test.
//
// # Databases
//
// Keys (sub-package sqlkeys) and rows stand on SQLite, PostgreSQL or MariaDB
// (MySQL speaks as MariaDB does and was not run), each through any driver of
// database/sql, and need not stand on the same. Writer, Reader, OpenAll,
// SealStream and Lookup see no SQL; the condition of a Lookup is written by
// [Conditions.Where] with question marks and by [Conditions.Postgres] with $1.
//
// What reads and writes the rows itself (Reseal, Redact, Rebuild, ClearRows,
// Census, Holder, Counts) reads pages in the order of a unique key, which the
// database itself must name: of any type with an exact order (bigserial, uuid,
// text under any collation, enum, citext, bytes, times), of one column or
// several, or unique within the tenant (tenant, id), which is best where many
// tenants share a table. [RowText] says what stands for such a key in a column
// of LevelRow. Values are compared byte for byte, whatever a collation takes for
// equal; to the keys, and there alone, a UUID of 36 characters is one id in small
// letters and in capitals, whatever its column makes of it. Names are taken exactly as the database spells them. Refused, before
// anything is changed: a table without such a key, one that others inherit from,
// one whose row security hides rows from the user of the connection, a standby. A
// policy that comes into force while a job runs is found at its end, one that is
// taken back before that is not.
// Columns in the text form need a binary collation where the application
// compares them.
package encryption
