-- A CRM as other teams have it, on SQLite: one file, so no schema billing; no types
-- beyond storage classes, so CHECKs in their place.
CREATE TABLE schema_migrations (
	version INTEGER PRIMARY KEY,
	dirty   BOOLEAN NOT NULL
);

CREATE TABLE products (
	sku   VARCHAR(20) PRIMARY KEY,
	name  TEXT NOT NULL,
	price NUMERIC(12,2) NOT NULL
);

CREATE TABLE users (
	id        INTEGER PRIMARY KEY,
	tenant_id INTEGER NOT NULL,
	login     VARCHAR(40) NOT NULL UNIQUE
);

CREATE TABLE companies (
	id        TEXT PRIMARY KEY NOT NULL,
	tenant_id INTEGER NOT NULL,
	name      TEXT NOT NULL,
	parent_id TEXT REFERENCES companies ON DELETE SET NULL,
	attribs   TEXT NOT NULL CHECK (json_valid(attribs))
);

CREATE TABLE contacts (
	id          INTEGER PRIMARY KEY AUTOINCREMENT,
	tenant_id   INTEGER NOT NULL,
	company_id  TEXT REFERENCES companies ON DELETE SET NULL,
	owner_id    INTEGER NOT NULL REFERENCES users,
	reports_to  INTEGER REFERENCES contacts,
	merged_into INTEGER REFERENCES contacts,
	email       TEXT COLLATE NOCASE NOT NULL UNIQUE CHECK (email LIKE '%_@_%'),
	name        TEXT NOT NULL,
	nickname    TEXT,
	phone       TEXT CHECK (phone GLOB '+[0-9]*' AND length(phone) BETWEEN 8 AND 25),
	born        DATE,
	income      NUMERIC(14,2),
	last_ip     TEXT,
	stage       TEXT NOT NULL CHECK (stage IN ('lead', 'open', 'won', 'lost')),
	attribs     TEXT NOT NULL CHECK (json_valid(attribs)),
	bio         TEXT,
	photo       BLOB,
	created_at  INTEGER NOT NULL,
	CHECK (reports_to <> id)
);

CREATE INDEX contacts_by_company ON contacts (company_id);
CREATE INDEX contacts_by_chief ON contacts (reports_to);
CREATE INDEX contacts_by_survivor ON contacts (merged_into);

CREATE TABLE emails (
	id         INTEGER PRIMARY KEY AUTOINCREMENT,
	contact_id INTEGER NOT NULL REFERENCES contacts ON DELETE CASCADE,
	address    TEXT COLLATE NOCASE NOT NULL,
	created_at INTEGER NOT NULL
);

CREATE INDEX emails_by_contact ON emails (contact_id);
CREATE INDEX emails_by_address ON emails (address);

CREATE TABLE portal_accounts (
	id         INTEGER PRIMARY KEY AUTOINCREMENT,
	tenant_id  INTEGER NOT NULL,
	contact_id INTEGER UNIQUE,
	login      TEXT COLLATE NOCASE NOT NULL UNIQUE CHECK (login LIKE '%_@_%'),
	display    TEXT NOT NULL CHECK (length(display) >= 2),
	phone      TEXT CHECK (phone GLOB '+[0-9]*' AND length(phone) BETWEEN 8 AND 25),
	settings   TEXT NOT NULL CHECK (json_valid(settings)),
	created_at INTEGER NOT NULL
) STRICT;

CREATE TABLE portal_orders (
	id         TEXT PRIMARY KEY NOT NULL,
	account_id INTEGER NOT NULL REFERENCES portal_accounts,
	sku        VARCHAR(20) NOT NULL REFERENCES products,
	created_at INTEGER NOT NULL
);

CREATE INDEX portal_orders_by_account ON portal_orders (account_id);

CREATE TABLE notes (
	id         INTEGER PRIMARY KEY AUTOINCREMENT,
	contact_id INTEGER NOT NULL REFERENCES contacts,
	mentioned  INTEGER REFERENCES contacts ON DELETE SET NULL,
	author_id  INTEGER NOT NULL REFERENCES users,
	body       TEXT NOT NULL,
	created_at INTEGER NOT NULL
);

CREATE INDEX notes_by_contact ON notes (contact_id);
CREATE INDEX notes_by_mentioned ON notes (mentioned);

CREATE TABLE deals (
	id         INTEGER PRIMARY KEY AUTOINCREMENT,
	tenant_id  INTEGER NOT NULL,
	company_id TEXT REFERENCES companies ON DELETE SET NULL,
	title      TEXT NOT NULL,
	summary    TEXT,
	amount     NUMERIC(12,2),
	stage      TEXT NOT NULL CHECK (stage IN ('lead', 'open', 'won', 'lost')),
	created_at INTEGER NOT NULL
);

CREATE TABLE deal_persons (
	deal_id    INTEGER NOT NULL REFERENCES deals ON DELETE CASCADE,
	contact_id INTEGER NOT NULL REFERENCES contacts,
	role       TEXT NOT NULL,
	remark     TEXT,
	created_at INTEGER NOT NULL,
	PRIMARY KEY (deal_id, contact_id)
);

CREATE INDEX deal_persons_by_contact ON deal_persons (contact_id);

CREATE TABLE comments (
	id           INTEGER PRIMARY KEY AUTOINCREMENT,
	subject_type TEXT NOT NULL CHECK (subject_type IN ('Contact', 'Company', 'Deal')),
	subject_id   VARCHAR(64) NOT NULL,
	author_id    INTEGER NOT NULL REFERENCES users,
	body         TEXT NOT NULL,
	created_at   INTEGER NOT NULL
);

CREATE INDEX comments_by_subject ON comments (subject_type, subject_id);

CREATE TABLE invoices (
	tenant_id  INTEGER NOT NULL,
	number     INTEGER NOT NULL,
	contact_id INTEGER NOT NULL{cascade},
	bill_name  TEXT NOT NULL,
	address    TEXT NOT NULL CHECK (json_valid(address)),
	reminder   TEXT,
	total      NUMERIC(12,2) NOT NULL CHECK (total >= 0),
	issued_on  DATE NOT NULL,
	created_at INTEGER NOT NULL,
	PRIMARY KEY (tenant_id, number)
);

CREATE INDEX invoices_by_contact ON invoices (contact_id);

CREATE TABLE invoice_lines (
	tenant_id INTEGER NOT NULL,
	number    INTEGER NOT NULL,
	line      SMALLINT NOT NULL CHECK (line > 0),
	text      TEXT NOT NULL,
	amount    NUMERIC(12,2) NOT NULL,
	PRIMARY KEY (tenant_id, number, line),
	FOREIGN KEY (tenant_id, number) REFERENCES invoices DEFERRABLE INITIALLY DEFERRED
);

CREATE TABLE mailing_list (
	id         INTEGER PRIMARY KEY AUTOINCREMENT,
	tenant_id  INTEGER NOT NULL,
	list       VARCHAR(40) NOT NULL,
	address    VARCHAR(190) NOT NULL,
	opt_in_ip  TEXT,
	created_at INTEGER NOT NULL,
	UNIQUE (tenant_id, list, address)
);

CREATE INDEX mailing_list_by_address ON mailing_list (lower(address));

CREATE TABLE preferences (
	contact_id INTEGER PRIMARY KEY REFERENCES contacts ON DELETE CASCADE,
	gift       TEXT,
	score      INTEGER NOT NULL
);

CREATE TABLE outbox (
	id         INTEGER PRIMARY KEY AUTOINCREMENT,
	tenant_id  INTEGER NOT NULL,
	contact_id INTEGER NOT NULL,
	payload    TEXT NOT NULL CHECK (json_valid(payload)),
	created_at INTEGER NOT NULL DEFAULT (CAST(unixepoch('subsec') * 1000000 AS INTEGER))
);

CREATE INDEX outbox_by_contact ON outbox (contact_id);
