-- Heartbeats, stored secrets, how many events an integration took lately, and messages by where they go.

CREATE TABLE heartbeat (
  id TEXT COLLATE "C" PRIMARY KEY,
  key TEXT COLLATE "C" NOT NULL UNIQUE,
  created_at BIGINT NOT NULL,
  last_ping_at BIGINT,
  last_ping TEXT,
  pings BIGINT NOT NULL
);

CREATE TABLE secret (
  name TEXT COLLATE "C" PRIMARY KEY,
  sealed BYTEA NOT NULL,
  changed_at BIGINT NOT NULL
);

ALTER TABLE integration ADD COLUMN minute_at BIGINT NOT NULL DEFAULT 0;
ALTER TABLE integration ADD COLUMN minute_events BIGINT NOT NULL DEFAULT 0;

-- What goes to one destination waits together: a flood for one person is looked at once, and hides nobody else's message.
ALTER TABLE delivery ADD COLUMN target TEXT COLLATE "C" NOT NULL DEFAULT '';
UPDATE delivery SET target = channel_id || '|' || provider || '|' || address WHERE status IN ('pending', 'claimed');
DROP INDEX delivery_claimable;
CREATE INDEX delivery_by_target ON delivery (target, due_at) WHERE status IN ('pending', 'claimed');
