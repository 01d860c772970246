-- name: AddContact :one
INSERT INTO contacts (person, email, email_idx, notes)
VALUES (?, ?, ?, ?)
RETURNING id;

-- name: ChangeEmail :execrows
UPDATE contacts SET email = ?, email_idx = ?
WHERE id = ? AND person = ?;

-- name: FindByEmail :many
SELECT id, person, email, notes FROM contacts
WHERE email_idx IN (sqlc.slice('values'))
ORDER BY id;

-- name: ListContacts :many
SELECT id, person, email, notes FROM contacts
WHERE id > sqlc.arg(after)
ORDER BY id
LIMIT sqlc.arg(page);
