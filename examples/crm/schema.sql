-- The tables of the CRM. All are STRICT, so that a column holds what it says.
-- Types fit PostgreSQL (text, bigint, bytea) and MySQL as well. What came from
-- a person stands in BLOB columns, sealed under the key of that person; clear
-- columns are those that the data map declares as shared, and the machinery.

CREATE TABLE users (
	id     TEXT NOT NULL PRIMARY KEY,
	tenant TEXT NOT NULL,
	role   TEXT NOT NULL, -- sales, manager, support, auditor, outsider
	region TEXT NOT NULL
) STRICT;

CREATE TABLE accounts (
	id      TEXT NOT NULL PRIMARY KEY,
	tenant  TEXT NOT NULL,
	name    TEXT NOT NULL, -- the company, shared by all who work there
	region  TEXT NOT NULL,
	created INTEGER NOT NULL
) STRICT;

CREATE TABLE contacts (
	id             TEXT NOT NULL PRIMARY KEY, -- the random person id
	tenant         TEXT NOT NULL,
	owner          TEXT NOT NULL, -- the user who looks after the person
	account        TEXT,
	region         TEXT NOT NULL,
	country        TEXT,
	language       TEXT,
	hold           INTEGER,       -- 1: a legal hold; NULL: nobody has looked yet
	full_name      BLOB,
	first_name     BLOB,
	last_name      BLOB,
	middle_initial BLOB,
	title          BLOB,
	gender         BLOB,
	email          BLOB,
	phone          BLOB,
	mobile_phone   BLOB,
	street         BLOB,
	city           BLOB,
	state          BLOB,
	postal_code    BLOB,
	birthday       BLOB,
	job_title      BLOB,
	website        BLOB,
	username       BLOB,
	national_id    BLOB,
	card_number    BLOB,
	note           BLOB,
	custom         BLOB,          -- one JSON object of all columns that nobody knew
	email_index    INTEGER,       -- the lookup index; stripped from backups
	created        INTEGER NOT NULL,
	version        INTEGER NOT NULL,
	event          TEXT NOT NULL, -- the audit event that made this version
	seal_schema    TEXT NOT NULL,
	seal           BLOB NOT NULL
) STRICT;
CREATE INDEX contacts_email_index ON contacts (tenant, email_index);
-- Whole tables are read in pages, by tenant and key. Without an index of both,
-- SQLite sorts all rows of the tenant anew for each page.
CREATE UNIQUE INDEX contacts_pages ON contacts (tenant, id);

CREATE TABLE deals (
	id           TEXT NOT NULL PRIMARY KEY,
	tenant       TEXT NOT NULL,
	person       TEXT NOT NULL,
	owner        TEXT NOT NULL,
	stage        TEXT NOT NULL,
	amount_cents INTEGER NOT NULL,
	subject      BLOB NOT NULL,
	created      INTEGER NOT NULL
) STRICT;
CREATE INDEX deals_person ON deals (tenant, person);
CREATE UNIQUE INDEX deals_pages ON deals (tenant, id);

CREATE TABLE activities (
	id       TEXT NOT NULL PRIMARY KEY,
	tenant   TEXT NOT NULL,
	kind     TEXT NOT NULL,
	key_owner TEXT NOT NULL, -- a person, or r:<uuid> where the text is about two
	body     BLOB NOT NULL,
	created  INTEGER NOT NULL
) STRICT;

CREATE UNIQUE INDEX activities_pages ON activities (tenant, id);

CREATE TABLE activity_persons (
	activity TEXT NOT NULL,
	person   TEXT NOT NULL,
	PRIMARY KEY (activity, person)
) STRICT;
CREATE INDEX activity_persons_person ON activity_persons (person);

CREATE TABLE attachments (
	id      TEXT NOT NULL PRIMARY KEY,
	tenant  TEXT NOT NULL,
	person  TEXT NOT NULL,
	file    TEXT NOT NULL, -- below live/attachments; name and content are sealed in it
	bytes   INTEGER NOT NULL,
	created INTEGER NOT NULL
) STRICT;
CREATE INDEX attachments_person ON attachments (tenant, person);
