-- What lists of IT users go by, so that nobody has to be looked up who is not on them: how many links and confirmed second factors
-- each has, and on which environments an id, a bit for each; all bits when that is not known. store/lists.go counts, and has triggers
-- and indexes made.

-- +goose Up
ALTER TABLE it_users ADD COLUMN link_count BIGINT NOT NULL DEFAULT 0;
ALTER TABLE it_users ADD COLUMN factor_count BIGINT NOT NULL DEFAULT 0;
ALTER TABLE it_users ADD COLUMN places BIGINT NOT NULL DEFAULT -1;
