-- IT users from sources: who owns whom, what runs did, and which one is going on.

-- +goose Up
CREATE TABLE sync_owned (
	it_user TEXT PRIMARY KEY REFERENCES it_users (key) ON DELETE CASCADE,
	source  TEXT NOT NULL,
	ref     TEXT NOT NULL,
	active  BIGINT NOT NULL,
	UNIQUE (source, ref)
);

CREATE TABLE sync_runs (
	id      TEXT PRIMARY KEY,
	source  TEXT NOT NULL,
	started BIGINT NOT NULL,
	state   TEXT NOT NULL,
	data    TEXT NOT NULL
);
CREATE INDEX sync_runs_started ON sync_runs (started);

-- One row: the run that may write until then.
CREATE TABLE sync_lease (
	name  TEXT PRIMARY KEY,
	run   TEXT NOT NULL,
	until BIGINT NOT NULL
);

-- Users of the platform whom provisioning has made or adopted: nobody else is touched.
CREATE TABLE provisioned (
	target   TEXT NOT NULL,
	key      TEXT NOT NULL,
	provider TEXT NOT NULL,
	subject  TEXT NOT NULL,
	username TEXT NOT NULL,
	active   BIGINT NOT NULL,
	teams    TEXT NOT NULL,
	PRIMARY KEY (target, provider, subject)
);
