-- What administrators have begun and not ended yet, on whatever node: proposals, files to be imported, jobs. Sealed.

-- +goose Up
CREATE TABLE kept (
	kind    TEXT NOT NULL,
	id      TEXT NOT NULL,
	expires BIGINT NOT NULL,
	sealed  BYTEA NOT NULL,
	PRIMARY KEY (kind, id)
);
CREATE INDEX kept_expires ON kept (kind, expires);
