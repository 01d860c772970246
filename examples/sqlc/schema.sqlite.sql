-- Sealed columns are BLOB and nullable: erasing a person clears them.
CREATE TABLE contacts (
    id        INTEGER PRIMARY KEY,
    person    TEXT NOT NULL,
    email     BLOB,
    email_idx INTEGER,
    notes     BLOB
);

CREATE INDEX contacts_email_idx ON contacts (email_idx);
