-- Versions of the managed part of the configuration, and which settings each environment of the platform was last seen with.

-- +goose Up
CREATE TABLE revisions (
	number  BIGINT PRIMARY KEY,
	base    BIGINT NOT NULL,
	at      BIGINT NOT NULL,
	author  TEXT NOT NULL,
	comment TEXT NOT NULL,
	sealed  BYTEA NOT NULL
);

CREATE TABLE platform_settings (
	environment TEXT PRIMARY KEY,
	at          BIGINT NOT NULL,
	revision    BIGINT NOT NULL,
	sealed      BYTEA NOT NULL
);
