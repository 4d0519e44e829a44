-- Heartbeats, stored secrets, and how many events an integration took lately.

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
