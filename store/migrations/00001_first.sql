-- One text for SQLite and PostgreSQL: TEXT, BIGINT and BYTEA only. Times are Unix microseconds, 0 for never; booleans are
-- 0 or 1; keys are random text. A migration that was released is never edited: add the next number.

-- +goose Up
CREATE TABLE health (
	name TEXT PRIMARY KEY,
	at   BIGINT NOT NULL
);

-- Failed attempts, by throttle key.
CREATE TABLE attempts (
	key           TEXT PRIMARY KEY,
	failures      BIGINT NOT NULL,
	last_failure  BIGINT NOT NULL,
	blocked_until BIGINT NOT NULL
);

-- What may happen once: the row is the proof that it has.
CREATE TABLE single_use (
	kind    TEXT NOT NULL,
	key     TEXT NOT NULL,
	expires BIGINT NOT NULL,
	PRIMARY KEY (kind, key)
);
CREATE INDEX single_use_expires ON single_use (expires);

-- The audit: a chain of records, each with a MAC over the one before it.
CREATE TABLE audit (
	seq         BIGINT PRIMARY KEY,
	time        BIGINT NOT NULL,
	id          TEXT NOT NULL,
	action      TEXT NOT NULL,
	actor       TEXT NOT NULL,
	environment TEXT NOT NULL,
	username    TEXT NOT NULL,
	provider    TEXT NOT NULL,
	subject     TEXT NOT NULL,
	it_user     TEXT NOT NULL,
	kind        TEXT NOT NULL,
	reason      TEXT NOT NULL,
	factors     TEXT NOT NULL,
	source      TEXT NOT NULL,
	duration    BIGINT NOT NULL,
	detail      TEXT NOT NULL,
	mac         BYTEA NOT NULL
);

-- Both ends of the chain: the last record, and the last one that was purged. One row.
CREATE TABLE audit_head (
	name       TEXT PRIMARY KEY,
	key_id     BYTEA NOT NULL,
	seq        BIGINT NOT NULL,
	mac        BYTEA NOT NULL,
	purged_seq BIGINT NOT NULL,
	purged_mac BYTEA NOT NULL,
	seal       BYTEA NOT NULL
);

-- IT users, their id on each environment, and the account each of them is at each provider.
CREATE TABLE it_users (
	key      TEXT PRIMARY KEY,
	username TEXT NOT NULL,
	folded   TEXT NOT NULL UNIQUE,
	name     TEXT NOT NULL,
	email    TEXT NOT NULL,
	active   BIGINT NOT NULL
);

CREATE TABLE it_user_ids (
	it_user     TEXT NOT NULL REFERENCES it_users (key) ON DELETE CASCADE,
	environment TEXT NOT NULL,
	id          BIGINT NOT NULL,
	PRIMARY KEY (it_user, environment)
);
CREATE UNIQUE INDEX it_user_ids_environment ON it_user_ids (environment, id);

CREATE TABLE links (
	provider TEXT NOT NULL,
	subject  TEXT NOT NULL,
	it_user  TEXT NOT NULL REFERENCES it_users (key) ON DELETE CASCADE,
	username TEXT NOT NULL,
	since    BIGINT NOT NULL,
	PRIMARY KEY (provider, subject),
	UNIQUE (it_user, provider)
);

-- Second factors. Secrets are sealed, recovery codes hashed.
CREATE TABLE factors (
	id        TEXT PRIMARY KEY,
	it_user   TEXT NOT NULL REFERENCES it_users (key) ON DELETE CASCADE,
	sealed    BYTEA NOT NULL,
	created   BIGINT NOT NULL,
	confirmed BIGINT NOT NULL,
	last_step BIGINT NOT NULL
);
CREATE INDEX factors_it_user ON factors (it_user);

CREATE TABLE recovery_codes (
	id      TEXT PRIMARY KEY,
	it_user TEXT NOT NULL REFERENCES it_users (key) ON DELETE CASCADE,
	hash    BYTEA NOT NULL,
	used    BIGINT NOT NULL
);
CREATE INDEX recovery_codes_it_user ON recovery_codes (it_user);

-- Keys of our own, sealed under the master key.
CREATE TABLE data_keys (
	name   TEXT PRIMARY KEY,
	sealed BYTEA NOT NULL
);
