-- A CRM as other teams have it, on SQLite: one file, so no schemas; no enum, no
-- partitions and no types beyond storage classes, so CHECKs in their place.
CREATE TABLE users (
	id         INTEGER PRIMARY KEY AUTOINCREMENT,
	email      TEXT COLLATE NOCASE NOT NULL UNIQUE,
	name       VARCHAR(120) NOT NULL,
	role       TEXT NOT NULL DEFAULT 'seller' CHECK (role IN ('seller', 'manager', 'admin')),
	reports_to INTEGER REFERENCES users ON DELETE SET NULL,
	hired_on   TEXT CHECK (hired_on GLOB '[0-9][0-9].[0-9][0-9].[0-9][0-9][0-9][0-9]'),
	CHECK (reports_to <> id)
);

CREATE TABLE accounts (
	id        TEXT PRIMARY KEY NOT NULL,
	name      TEXT NOT NULL,
	domain    TEXT COLLATE NOCASE UNIQUE,
	parent_id TEXT REFERENCES accounts ON DELETE SET NULL DEFERRABLE INITIALLY DEFERRED,
	revenue   NUMERIC(12,2) CHECK (revenue >= 0),
	custom    TEXT NOT NULL DEFAULT '{}' CHECK (json_valid(custom))
);

CREATE TABLE contacts (
	id         VARCHAR(64) PRIMARY KEY NOT NULL CHECK (id <> ''),
	account_id TEXT REFERENCES accounts ON DELETE SET NULL,
	owner_id   INTEGER REFERENCES users ON DELETE SET NULL,
	first_name TEXT,
	last_name  TEXT NOT NULL,
	email      TEXT COLLATE NOCASE UNIQUE CHECK (email LIKE '%@%'),
	phone      TEXT,
	street     TEXT,
	city       TEXT,
	country    CHAR(2) NOT NULL CHECK (country GLOB '[A-Z][A-Z]'),
	birthday   TEXT,
	stage      TEXT NOT NULL DEFAULT 'new' CHECK (stage IN ('new', 'qualified', 'won', 'lost')),
	score      INT,
	value      NUMERIC(12,2),
	consent    BOOLEAN,
	custom     TEXT CHECK (json_valid(custom)),
	created_at TIMESTAMP NOT NULL,
	updated_at TEXT NOT NULL,
	deleted_at TIMESTAMP
);

CREATE INDEX contacts_by_account ON contacts (account_id);

CREATE VIEW live_contacts AS SELECT id, first_name, last_name, email, owner_id FROM contacts WHERE deleted_at IS NULL;

CREATE TABLE tags (
	name  TEXT COLLATE NOCASE PRIMARY KEY NOT NULL,
	color TEXT NOT NULL DEFAULT 'grey'
);

CREATE TABLE contact_tags (
	contact_id VARCHAR(64) NOT NULL REFERENCES contacts ON DELETE CASCADE,
	tag        TEXT COLLATE NOCASE NOT NULL REFERENCES tags ON DELETE CASCADE ON UPDATE CASCADE,
	PRIMARY KEY (contact_id, tag)
) WITHOUT ROWID;

CREATE TABLE sources (
	code  TEXT COLLATE NOCASE PRIMARY KEY NOT NULL,
	label TEXT
) WITHOUT ROWID;

CREATE TABLE activities (
	id           INTEGER PRIMARY KEY,
	subject_type TEXT NOT NULL CHECK (subject_type IN ('contact', 'account')),
	subject_id   TEXT NOT NULL,
	body         TEXT,
	due_on       TEXT NOT NULL DEFAULT '',
	done         BOOLEAN NOT NULL DEFAULT 0,
	meta         TEXT CHECK (json_valid(meta))
);

CREATE INDEX activities_by_subject ON activities (subject_type, subject_id);

CREATE TABLE events (
	occurred_at TIMESTAMP NOT NULL,
	id          INTEGER NOT NULL,
	contact_id  VARCHAR(64),
	what        TEXT NOT NULL,
	PRIMARY KEY (occurred_at, id)
);

CREATE TABLE contacts_history (
	contact_id VARCHAR(64) NOT NULL,
	n          INTEGER NOT NULL,
	op         TEXT NOT NULL,
	was        TEXT NOT NULL,
	PRIMARY KEY (contact_id, n)
);

CREATE TRIGGER contacts_updated AFTER UPDATE ON contacts BEGIN
	INSERT INTO contacts_history
		SELECT OLD.id, coalesce(max(n), 0) + 1, 'UPDATE', json_object('email', OLD.email, 'last_name', OLD.last_name) FROM contacts_history WHERE contact_id = OLD.id;
END;

CREATE TRIGGER contacts_deleted AFTER DELETE ON contacts BEGIN
	INSERT INTO contacts_history
		SELECT OLD.id, coalesce(max(n), 0) + 1, 'DELETE', json_object('email', OLD.email, 'last_name', OLD.last_name) FROM contacts_history WHERE contact_id = OLD.id;
END;

CREATE TABLE invoices (
	id         TEXT PRIMARY KEY NOT NULL,
	number     VARCHAR(20) NOT NULL UNIQUE,
	contact_id VARCHAR(64) NOT NULL REFERENCES contacts,
	issued_on  DATE NOT NULL,
	total      NUMERIC(12,2) NOT NULL CHECK (total >= 0),
	address    TEXT NOT NULL CHECK (json_valid(address))
);

CREATE TABLE invoice_lines (
	invoice_id TEXT NOT NULL REFERENCES invoices ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED,
	line       SMALLINT NOT NULL CHECK (line > 0),
	text       TEXT NOT NULL,
	amount     NUMERIC(12,2) NOT NULL,
	PRIMARY KEY (invoice_id, line)
);

CREATE TABLE rates (
	country    CHAR(2) NOT NULL,
	kind       TEXT NOT NULL CHECK (kind IN ('standard', 'reduced', 'exempt')),
	valid_from DATE NOT NULL,
	percent    NUMERIC(4,2) NOT NULL,
	PRIMARY KEY (country, kind, valid_from)
);

CREATE TABLE "Credit Notes" (
	"No"       VARCHAR(20) PRIMARY KEY NOT NULL,
	"order"    INTEGER NOT NULL,
	invoice_id TEXT REFERENCES invoices ON DELETE SET NULL,
	"Why?"     TEXT
);
