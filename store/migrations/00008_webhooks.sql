-- Security events on their way to the outside. What was sent stays for a day, so that nothing is sent twice for one event.

-- +goose Up
CREATE TABLE webhook_messages (
	id       TEXT NOT NULL,
	endpoint TEXT NOT NULL,
	event    TEXT NOT NULL,
	created  BIGINT NOT NULL,
	body     BYTEA NOT NULL,
	state    TEXT NOT NULL,
	attempts BIGINT NOT NULL,
	due      BIGINT NOT NULL,
	trouble  TEXT NOT NULL,
	PRIMARY KEY (endpoint, id)
);
CREATE INDEX webhook_messages_due ON webhook_messages (state, endpoint, due);
