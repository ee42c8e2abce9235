-- Break-glass accounts; administrators' enrolment codes; what people call their devices.

-- +goose Up
CREATE TABLE local_accounts (
	subject      TEXT PRIMARY KEY,
	username     TEXT NOT NULL,
	folded       TEXT NOT NULL UNIQUE,
	sealed       BYTEA NOT NULL,
	changed      BIGINT NOT NULL,
	must_change  BIGINT NOT NULL,
	active_until BIGINT NOT NULL
);

CREATE TABLE invites (
	it_user TEXT PRIMARY KEY REFERENCES it_users (key) ON DELETE CASCADE,
	hash    BYTEA NOT NULL,
	expires BIGINT NOT NULL
);

ALTER TABLE factors ADD COLUMN name TEXT NOT NULL DEFAULT '';
