-- Callbacks that were followed: one that comes again changes nothing.
CREATE TABLE callback (
  key TEXT COLLATE "C" PRIMARY KEY,
  seen_at BIGINT NOT NULL
);
CREATE INDEX callback_by_age ON callback (seen_at);
-- Since when a message that is tried again has been due.
ALTER TABLE delivery ADD COLUMN first_due_at BIGINT;
CREATE INDEX delivery_retried ON delivery (first_due_at) WHERE first_due_at IS NOT NULL AND status IN ('pending', 'claimed');
-- Public incidents that are open are shown however old they are.
CREATE INDEX status_incident_open ON status_incident (page_id, created_at) WHERE resolved_at IS NULL;
