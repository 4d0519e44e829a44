-- Events from monitoring tools: the keys of integrations, what an alert says, and what changed in a service.

CREATE TABLE integration (
  id TEXT COLLATE "C" PRIMARY KEY,
  service_id TEXT COLLATE "C" NOT NULL,
  name TEXT COLLATE "C" NOT NULL,
  key TEXT COLLATE "C" NOT NULL UNIQUE,
  created_at BIGINT NOT NULL,
  UNIQUE (service_id, name)
);

ALTER TABLE alert ADD COLUMN integration_id TEXT;
ALTER TABLE alert ADD COLUMN severity TEXT;
ALTER TABLE alert ADD COLUMN details TEXT;
CREATE INDEX alert_by_key ON alert (dedup_key, opened_at);

CREATE TABLE change_event (
  id TEXT COLLATE "C" PRIMARY KEY,
  service_id TEXT NOT NULL,
  integration_id TEXT NOT NULL,
  at BIGINT NOT NULL,
  summary TEXT NOT NULL,
  details TEXT NOT NULL
);
CREATE INDEX change_event_by_service ON change_event (service_id, at);
CREATE INDEX change_event_by_age ON change_event (at);
