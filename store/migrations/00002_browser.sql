-- What a browser's user has on the server: sign-ins under way, sessions, sign-in tokens.

-- +goose Up
CREATE TABLE logins (
	id      TEXT PRIMARY KEY,
	version BIGINT NOT NULL,
	expires BIGINT NOT NULL,
	data    BYTEA NOT NULL
);
CREATE INDEX logins_expires ON logins (expires);

CREATE TABLE sessions (
	id       TEXT PRIMARY KEY,
	it_user  TEXT NOT NULL REFERENCES it_users (key) ON DELETE CASCADE,
	provider TEXT NOT NULL,
	subject  TEXT NOT NULL,
	name     TEXT NOT NULL,
	seen     BIGINT NOT NULL,
	expires  BIGINT NOT NULL,
	data     BYTEA NOT NULL
);
CREATE INDEX sessions_it_user ON sessions (it_user);
CREATE INDEX sessions_account ON sessions (provider, subject);
CREATE INDEX sessions_expires ON sessions (expires);

CREATE TABLE tokens (
	hash         TEXT PRIMARY KEY,
	id           TEXT NOT NULL UNIQUE,
	it_user      TEXT NOT NULL REFERENCES it_users (key) ON DELETE CASCADE,
	created      BIGINT NOT NULL,
	expires      BIGINT NOT NULL,
	first_use_by BIGINT NOT NULL,
	revoked      BIGINT NOT NULL,
	first_used   BIGINT NOT NULL,
	last_used    BIGINT NOT NULL,
	last_at      TEXT NOT NULL,
	data         BYTEA NOT NULL
);
CREATE INDEX tokens_it_user ON tokens (it_user);
CREATE INDEX tokens_expires ON tokens (expires);
