-- A CRM as other teams have it, on MariaDB.
CREATE TABLE schema_migrations (
	version BIGINT PRIMARY KEY,
	dirty   BOOLEAN NOT NULL
);

CREATE TABLE products (
	sku   VARCHAR(20) PRIMARY KEY,
	name  LONGTEXT NOT NULL,
	price DECIMAL(12,2) NOT NULL
);

CREATE TABLE users (
	id        INT PRIMARY KEY,
	tenant_id BIGINT NOT NULL,
	login     VARCHAR(40) NOT NULL UNIQUE
);

CREATE TABLE companies (
	id        UUID PRIMARY KEY,
	tenant_id BIGINT NOT NULL,
	name      LONGTEXT NOT NULL,
	parent_id UUID REFERENCES companies (id) ON DELETE SET NULL,
	attribs   JSON NOT NULL
);

CREATE TABLE contacts (
	id          BIGINT AUTO_INCREMENT PRIMARY KEY,
	tenant_id   BIGINT NOT NULL,
	company_id  UUID REFERENCES companies (id) ON DELETE SET NULL,
	owner_id    INT NOT NULL REFERENCES users (id),
	reports_to  BIGINT REFERENCES contacts (id),
	merged_into BIGINT REFERENCES contacts (id),
	email       VARCHAR(190) COLLATE utf8mb4_general_ci NOT NULL UNIQUE CHECK (email LIKE '%_@_%'),
	name        LONGTEXT NOT NULL,
	nickname    LONGTEXT,
	phone       LONGTEXT CHECK (phone REGEXP '^\\+[0-9 ]{7,24}$'),
	born        DATE,
	income      DECIMAL(14,2),
	last_ip     INET6,
	stage       ENUM ('lead', 'open', 'won', 'lost') NOT NULL,
	attribs     JSON NOT NULL,
	bio         LONGTEXT,
	photo       LONGBLOB,
	created_at  DATETIME(6) NOT NULL
);

CREATE INDEX contacts_by_company ON contacts (company_id);
CREATE INDEX contacts_by_chief ON contacts (reports_to);
CREATE INDEX contacts_by_survivor ON contacts (merged_into);

CREATE TABLE emails (
	id         BIGINT AUTO_INCREMENT PRIMARY KEY,
	contact_id BIGINT NOT NULL REFERENCES contacts (id) ON DELETE CASCADE,
	address    VARCHAR(190) COLLATE utf8mb4_general_ci NOT NULL,
	created_at DATETIME(6) NOT NULL
);

CREATE INDEX emails_by_contact ON emails (contact_id);
CREATE INDEX emails_by_address ON emails (address);

CREATE TABLE portal_accounts (
	id         BIGINT AUTO_INCREMENT PRIMARY KEY,
	tenant_id  BIGINT NOT NULL,
	contact_id BIGINT UNIQUE,
	login      VARCHAR(190) COLLATE utf8mb4_general_ci NOT NULL UNIQUE CHECK (login LIKE '%_@_%'),
	display    VARCHAR(60) NOT NULL CHECK (char_length(display) >= 2),
	phone      LONGTEXT CHECK (phone REGEXP '^\\+[0-9 ]{7,24}$'),
	settings   JSON NOT NULL,
	created_at DATETIME(6) NOT NULL
);

CREATE TABLE portal_orders (
	id         UUID PRIMARY KEY,
	account_id BIGINT NOT NULL REFERENCES portal_accounts (id),
	sku        VARCHAR(20) NOT NULL REFERENCES products (sku),
	created_at DATETIME(6) NOT NULL
);

CREATE INDEX portal_orders_by_account ON portal_orders (account_id);

CREATE TABLE notes (
	id         BIGINT AUTO_INCREMENT PRIMARY KEY,
	contact_id BIGINT NOT NULL REFERENCES contacts (id),
	mentioned  BIGINT REFERENCES contacts (id) ON DELETE SET NULL,
	author_id  INT NOT NULL REFERENCES users (id),
	body       LONGTEXT NOT NULL,
	created_at DATETIME(6) NOT NULL
);

CREATE INDEX notes_by_contact ON notes (contact_id);
CREATE INDEX notes_by_mentioned ON notes (mentioned);

CREATE TABLE deals (
	id         BIGINT AUTO_INCREMENT PRIMARY KEY,
	tenant_id  BIGINT NOT NULL,
	company_id UUID REFERENCES companies (id) ON DELETE SET NULL,
	title      LONGTEXT NOT NULL,
	summary    LONGTEXT,
	amount     DECIMAL(12,2),
	stage      ENUM ('lead', 'open', 'won', 'lost') NOT NULL,
	created_at DATETIME(6) NOT NULL
);

CREATE TABLE deal_persons (
	deal_id    BIGINT NOT NULL REFERENCES deals (id) ON DELETE CASCADE,
	contact_id BIGINT NOT NULL REFERENCES contacts (id),
	role       LONGTEXT NOT NULL,
	remark     LONGTEXT,
	created_at DATETIME(6) NOT NULL,
	PRIMARY KEY (deal_id, contact_id)
);

CREATE INDEX deal_persons_by_contact ON deal_persons (contact_id);

CREATE TABLE comments (
	id           BIGINT AUTO_INCREMENT PRIMARY KEY,
	subject_type VARCHAR(20) NOT NULL CHECK (subject_type IN ('Contact', 'Company', 'Deal')),
	subject_id   VARCHAR(64) NOT NULL,
	author_id    INT NOT NULL REFERENCES users (id),
	body         LONGTEXT NOT NULL,
	created_at   DATETIME(6) NOT NULL
);

CREATE INDEX comments_by_subject ON comments (subject_type, subject_id);

CREATE TABLE billing_invoices (
	tenant_id  BIGINT NOT NULL,
	number     INT NOT NULL,
	contact_id BIGINT NOT NULL{cascade},
	bill_name  LONGTEXT NOT NULL,
	address    JSON NOT NULL,
	reminder   LONGTEXT,
	total      DECIMAL(12,2) NOT NULL CHECK (total >= 0),
	issued_on  DATE NOT NULL,
	created_at DATETIME(6) NOT NULL,
	PRIMARY KEY (tenant_id, number)
);

CREATE INDEX invoices_by_contact ON billing_invoices (contact_id);

CREATE TABLE billing_invoice_lines (
	tenant_id BIGINT NOT NULL,
	number    INT NOT NULL,
	line      SMALLINT NOT NULL CHECK (line > 0),
	text      LONGTEXT NOT NULL,
	amount    DECIMAL(12,2) NOT NULL,
	PRIMARY KEY (tenant_id, number, line),
	FOREIGN KEY (tenant_id, number) REFERENCES billing_invoices (tenant_id, number)
);

CREATE TABLE mailing_list (
	id         BIGINT AUTO_INCREMENT PRIMARY KEY,
	tenant_id  BIGINT NOT NULL,
	list       VARCHAR(40) NOT NULL,
	address    VARCHAR(190) NOT NULL,
	opt_in_ip  INET6,
	created_at DATETIME(6) NOT NULL,
	UNIQUE (tenant_id, list, address)
);

CREATE INDEX mailing_list_by_address ON mailing_list (address);

CREATE TABLE preferences (
	contact_id BIGINT PRIMARY KEY REFERENCES contacts (id) ON DELETE CASCADE,
	gift       LONGTEXT,
	score      INT NOT NULL
);

CREATE TABLE outbox (
	id         BIGINT AUTO_INCREMENT PRIMARY KEY,
	tenant_id  BIGINT NOT NULL,
	contact_id BIGINT NOT NULL,
	payload    JSON NOT NULL,
	created_at DATETIME(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6)
);

CREATE INDEX outbox_by_contact ON outbox (contact_id);
