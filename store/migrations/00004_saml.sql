-- What a SAML service provider keeps: its keys, whose session at an identity provider ours hang on, and a log of messages.

-- +goose Up
CREATE TABLE saml_keys (
	id          TEXT PRIMARY KEY,
	provider    TEXT NOT NULL,
	certificate BYTEA NOT NULL,
	sealed      BYTEA NOT NULL,
	signs       BIGINT NOT NULL,
	ends        BIGINT NOT NULL
);
CREATE INDEX saml_keys_provider ON saml_keys (provider, signs);

CREATE TABLE saml_sessions (
	id       TEXT PRIMARY KEY,
	provider TEXT NOT NULL,
	subject  TEXT NOT NULL,
	name     TEXT NOT NULL,
	idx      TEXT NOT NULL,
	name_id  BYTEA NOT NULL,
	expires  BIGINT NOT NULL
);
CREATE INDEX saml_sessions_name ON saml_sessions (provider, name);
CREATE INDEX saml_sessions_expires ON saml_sessions (expires);

CREATE TABLE saml_messages (
	id             TEXT PRIMARY KEY,
	at             BIGINT NOT NULL,
	provider       TEXT NOT NULL,
	direction      TEXT NOT NULL,
	type           TEXT NOT NULL,
	message        TEXT NOT NULL,
	in_response_to TEXT NOT NULL,
	username       TEXT NOT NULL,
	reason         TEXT NOT NULL,
	body           BYTEA NOT NULL
);
CREATE INDEX saml_messages_at ON saml_messages (at);
