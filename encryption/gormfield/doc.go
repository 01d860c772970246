// Package gormfield seals the fields of GORM models under keys of the persons
// they are about, and opens them again: on every path from a model to the
// database and back. It is a module of its own, so that who does not use GORM
// does not get it.
//
// A whole program; must and check stand for what is done about an error, and
// the example of the package has what stands around them:
//
//	type Contact struct {
//		ID       int64                 `gorm:"primaryKey"`
//		Person   string                // whose keys seal the row
//		Email    string                `gorm:"serializer:crmguard;type:bytea"` // blob on SQLite, varbinary(…) on MariaDB
//		EmailIdx encryption.IndexValue `gorm:"serializer:crmguard;type:bigint;index"`
//		Notes    *string               `gorm:"serializer:crmguard;type:bytea"`
//	}
//
//	plugin := must(gormfield.New(vault, gormfield.Config{ // a vault of package encryption
//		Tables: []encryption.Table{{Name: "contacts", Columns: []encryption.Column{
//			{Name: "email", Find: encryption.Email}, // fills email_idx
//			{Name: "notes"},
//		}}},
//		Tenant: func(context.Context) (string, error) { return "main", nil },
//	}))
//	check(db.Use(plugin))
//	check(plugin.Check(db)) // the database refuses the clear, once GuardSQL was executed
//
//	check(db.Create(&Contact{Person: person, Email: mail}).Error)    // stored sealed
//	where := must(plugin.Lookup(ctx, "main", "contacts", "email_idx", "ANN@b.example"))
//	var found []Contact
//	check(db.Where(where).Find(&found).Error)                        // opened, one query for keys a page
//	check(db.Model(&found[0]).Update("email", "eve@b.example").Error) // sealed, index and all
//
// Fields are text, bytes, pointers to them, or types such as sql.NullString;
// NULL stays NULL and an empty text is sealed. Definitions are those of package
// encryption: owner, tenant and key are the columns that they name, found in the
// model by the name of the column. A field for the index column may be left out.
//
// # What it promises
//
//   - Nothing reaches a sealed column unsealed: Create of structs, slices and
//     maps, in batches and nested, Save, Update, Updates and UpdateColumns from
//     columns, maps and structs of any type, FirstOrCreate with Attrs and Assign,
//     upserts, associations, clause.Set, generics, with and without hooks,
//     transactions and prepared statements.
//   - Nothing comes back unopened: Find and its kin, Scan, Rows, Row, ScanRows,
//     Raw, Preload, Joins, RETURNING, into models, other structs and maps, as
//     long as the result has the columns of the owner (and of the tenant, and
//     the key for columns of LevelRow). It is refused otherwise, so Pluck of a
//     sealed column is.
//   - What cannot be followed is refused before it runs, with an error that says
//     what to do: conditions, orders, groups and expressions on sealed columns,
//     aliases for them, raw SQL that writes. The SQL that GORM logs, explains or
//     returns from ToSQL holds no plaintext, also where it is refused: an argument
//     that masks itself (driver.Valuer, fmt.Formatter and slog.LogValuer, as an
//     adoption.Value does) stands there as it prints itself, and no driver takes it
//     from the Vars of a dry run.
//   - Without the plugin a model with the tag neither writes nor reads
//     (ErrUnsealed, ErrUnopened; GORM itself refuses a serializer that nobody
//     registered), but for what comes as a map or a single column: see below.
//   - [Plugin.Check], at the start, says for a *gorm.DB that the plugin is in use,
//     and that the database refuses what is not sealed in every sealed column, by
//     the constraints that [Plugin.GuardSQL] hands out: whoever writes it. It asks
//     with the rights on rows that the application has.
//   - A name in a map or an assignment that is a sealed column or field in another
//     spelling (quotes, case, blanks, the table before it) is refused, unless it is
//     a name that the model knows.
//   - A value stays with what it is bound to. An UPDATE touches rows of the owner,
//     tenant and id only that its values are sealed for, byte for byte, whatever
//     a collation takes for equal: a model that names another owner than its row
//     changes nothing (RowsAffected is 0). A row goes over to another owner only
//     with all of its sealed values, as Save does it, and one with streams does
//     not. The same holds for upserts.
//   - A row is written for the owner that can be read from it. Where the database
//     makes something else of it (a char(n), a numeric, a trigger), the statement
//     is refused (ErrOwner) within its transaction. A UUID of 36 characters is one
//     owner and one key in capitals and in small letters, as it is to the vault.
//   - The table that a statement names decides, not that of the model: Table with
//     another sealed table seals by its definition, with one that nobody has
//     declared it does not write the model.
//   - An index value is made with its field, whatever was selected or omitted;
//     nobody else writes it.
//   - A cell that does not open (its person was erased) leaves the others of its
//     row and page whole, relations and hooks included: its field is empty (nil in
//     a map), and the error is an [encryption.RowsError] with the reason of each
//     such row. [OnUnopened] tells of them instead, so that FindInBatches, which
//     ends at an error, goes on. Where rows are taken one by one (Scan, Rows), that
//     row fails.
//   - What did not open is not lost to a row that is saved as a whole, be it a copy
//     of what was read, a map or what came back from a form: once this process has
//     read a value of the table that does not open, an empty one is written only
//     where the cell opens, is NULL or was erased, and is refused (ErrLost)
//     otherwise. Update of that column alone, or Select with its name, gives it up.
//     Of an upsert that is asked of all rows that it may meet: by the columns that
//     it names, on MySQL and MariaDB by every unique index, on PostgreSQL from where
//     the sequence of the key stands. Where that cannot be told (OnConstraint, an
//     expression, a column that the database fills) the empty value is refused.
//   - Keys are taken before GORM begins its transaction, for nested models, maps
//     and assignments, too, and after the rows of a result are read: a pool of one
//     connection, shared with the key store, does not wait for itself. Rows reads
//     up to 65536 rows ahead where the pool has no connection left. Where a
//     transaction holds the only one (the caller's, or that of CreateInBatches) and
//     a key is not in memory, the statement fails soon (ErrPool), once two attempts
//     have shown whose wait it is: [Plugin.Ensure] takes the keys before it.
//   - A page costs one query for keys, each batch of FindInBatches too.
//   - Ids that values are bound to (LevelRow) are drawn before the INSERT, as many
//     as are needed in one query: from the sequence of the column on PostgreSQL,
//     elsewhere by Config.IDs. Where the owner is the id (Table.Owner "id"), the
//     application draws it and sets it.
//
// # What it does not
//
//   - Without the plugin GORM asks no serializer for what comes from a map or as
//     a single column: Update, UpdateColumn and Updates and Create of maps then
//     write what they are given, and of structs the error of pgx, and GORM's log of
//     it, quote the value. Call db.Use and Check where each *gorm.DB is opened. The
//     guards of GuardSQL keep the clear out of the table; they do not keep it out
//     of the errors and logs of a database that refuses it.
//   - The guards know the head and the least length of what is sealed, and no key:
//     they refuse the clear, and not a forgery. Where SQLite makes a table anew (as
//     AutoMigrate does), its triggers go: Check says so at the next start.
//   - What did not open is looked after by the process that has read it: one that
//     has not, and saves a row that another has read, empties it. A statement in
//     ByHand does, too; and so does an upsert without an id on PostgreSQL, where the
//     identity of the key has fallen behind its rows and the account may not use
//     its sequence, or where a unique index takes more for equal than its column.
//   - Without transactions (SkipDefaultTransaction) a row that is refused for
//     what the database has made of its owner stays written. MySQL, unlike
//     MariaDB, does not tell it of an INSERT, and the Create of maps in a slice
//     does not ask.
//   - FirstOrInit sets fields outside of any statement: GORM's error about a
//     value of a type that the field does not take quotes it.
//   - AutoMigrate converts no sealed column (ErrRaw): give each field the type of
//     its column.
//   - It sees what goes through GORM. Statements on the *sql.DB below, triggers
//     and other programs are not its business; reading what they wrote fails
//     where it is not sealed.
//   - It reads SQL by its words and does not parse it: raw SQL that names a
//     sealed table is judged strictly, and a literal that spells the name of a
//     sealed column counts as the column. [ByHand] leaves raw SQL alone.
//     An SQL name that is put together at run time by the database is not seen.
//   - On MySQL and MariaDB an upsert finds rows by every unique index and knows
//     no condition: there it writes all sealed columns and the owner or none, and
//     none that is bound to its row. So Save of a row with columns of LevelRow
//     that is not there yet, and FullSaveAssociations of such rows, are refused:
//     use Create.
//   - An association that moves rows to another owner by their foreign key moves
//     nothing where that key is the owner's column: change the rows themselves.
//   - An upsert takes two spellings of a UUID for one where all of its rows have
//     UUIDs; otherwise a row that is spelled otherwise stays as it is.
//   - IS NULL is the one condition on a sealed column that is not refused.
//   - Index values stand in the SQL that GORM logs. They show which rows hold
//     equal values, to whoever reads the log, as they do in the database.
//   - Find holds a page twice for a moment: as it came and as it is opened.
//     Rows opens 256 rows at a time. Where more rows follow than are read ahead,
//     the pool has one connection, the key store shares it and a key is not in
//     memory, Rows is ErrPool: page by Where and Limit.
//   - A pool of several connections, all held by transactions that each wait for a
//     key from the same pool, is no pool of one: they fail after Config.KeyWait.
//   - Values of sealed columns that were read (Changed, hooks) are plaintext in
//     the model, as the application wants them.
//   - Callbacks that other plugins put between those of this one and of GORM run
//     with the connection of this one, and see its rules.
//
// # A table that is in use
//
// A model goes from values in the clear to sealed ones by package adoption, which
// takes [Plugin.Table]; the example named Adoption does all of it:
//
//   - Declare the sealed column beside the one in the clear: Name is what the value
//     is bound to, SQL the new column. The model has a field for each, and the tag
//     on the new one only.
//   - Before that release execute Adoption.SQL and GuardSQL of the plugin; do not
//     leave the columns to AutoMigrate.
//   - Write through the model: take an Adoption.Writer before the transaction, set
//     the field in the clear from its Plain and the sealed one from WriteBoth on,
//     nil otherwise, and Save both together.
//   - Read both, and show the sealed one from ReadSealed on, the clear where it is
//     nil; search by Adoption.Lookup, whose Where goes into db.Where as it is.
//   - Move, Backfill and Clear are the adoption's and run past GORM. Reads through
//     the model compare nothing: look at the report of the last Backfill.
//   - When Finished is nil, the field in the clear goes, then the column.
//
// # Errors
//
//	sentinel      lasts      what to do
//	ErrUnsealed   until fix  call db.Use with the plugin on this *gorm.DB
//	ErrUnopened   until fix  read through GORM with the plugin, or scan into encryption.Sealed
//	ErrOwner      until fix  select or set the column that the error names, or change all sealed columns with it
//	ErrSearch     until fix  use Lookup, on a blind index; sort and group in Go
//	ErrRaw        until fix  use the methods of GORM, or ByHand with values of a Writer
//	ErrModel      until fix  bring the tags of the model and the definition together
//	ErrPool       until fix  call Ensure before the transaction, or allow a second connection
//	ErrLost       until fix  leave the column out (Omit), or give its value up by Update of it alone
//	ErrUnguarded  until fix  execute what GuardSQL returns, as the owner of the table
//	ErrValue      until fix  hand in text or bytes, no expression and nothing that is sealed already
//
// They come in a [FieldError] with table and column, never with a value. Errors
// of package encryption (ErrErased, ErrStore, ErrOpen, ...) come through.
//
// # Concurrency
//
// A Plugin is safe for concurrent use and may serve several *gorm.DB. Use it
// before the first statement: db.Use changes the callbacks and clause builders
// of the *gorm.DB.
package gormfield
