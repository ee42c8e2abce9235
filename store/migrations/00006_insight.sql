-- What is searched in the audit, and counted for charts, kept by a follower in the background: docs/adr/0003. No sign-in
-- pays for it. Also what lists of IT users and of blocked keys need.

-- +goose Up
-- How far each follower has read the audit.
CREATE TABLE audit_places (
	follower TEXT PRIMARY KEY,
	seq      BIGINT NOT NULL
);

-- Work that one node at a time does.
CREATE TABLE leases (
	name    TEXT PRIMARY KEY,
	holder  TEXT NOT NULL,
	expires BIGINT NOT NULL
);

-- What many records have in common. There are few of them, so all that match a question can be looked up one by one.
CREATE TABLE audit_classes (
	class       BIGINT PRIMARY KEY,
	action      TEXT NOT NULL,
	environment TEXT NOT NULL,
	provider    TEXT NOT NULL,
	kind        TEXT NOT NULL,
	throttled   BIGINT NOT NULL,
	sign_in     BIGINT NOT NULL,
	UNIQUE (action, environment, provider, kind, throttled)
);

-- Records by class, and by name as typed and of the IT user (folded, in bytes, so that both databases sort them alike).
CREATE TABLE audit_index (
	class BIGINT NOT NULL,
	time  BIGINT NOT NULL,
	seq   BIGINT NOT NULL,
	PRIMARY KEY (class, time, seq)
);

CREATE TABLE audit_names (
	name  BYTEA NOT NULL,
	time  BIGINT NOT NULL,
	seq   BIGINT NOT NULL,
	class BIGINT NOT NULL,
	PRIMARY KEY (name, time, seq)
);

CREATE TABLE audit_ids (
	id  TEXT NOT NULL,
	seq BIGINT NOT NULL,
	PRIMARY KEY (id, seq)
);

-- How many records there were, by span of width seconds, class and how long they took.
CREATE TABLE audit_counts (
	width  BIGINT NOT NULL,
	at     BIGINT NOT NULL,
	class  BIGINT NOT NULL,
	bucket BIGINT NOT NULL,
	n      BIGINT NOT NULL,
	PRIMARY KEY (width, at, class, bucket)
);

CREATE INDEX attempts_blocked_until ON attempts (blocked_until);
