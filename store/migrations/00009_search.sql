-- IT users are searched by any part of user name, name or e-mail: these texts folded as user names are, and an index that a
-- search reads from its beginning to its end instead of the table, so it has everything that is asked for. store/search.go fills
-- the column.

-- +goose Up
ALTER TABLE it_users ADD COLUMN search TEXT NOT NULL DEFAULT '';
CREATE INDEX it_users_search ON it_users (folded, active, search, key);
