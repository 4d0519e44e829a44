-- The ground. One text for both databases: BIGINT and BYTEA become INTEGER and BLOB on SQLite, tables become
-- STRICT there, and COLLATE "C" falls away (SQLite's default compares bytes).

CREATE TABLE meta (
  key TEXT PRIMARY KEY,
  value TEXT NOT NULL
);

CREATE TABLE commit_mark (
  id BIGINT PRIMARY KEY,
  seq BIGINT NOT NULL,
  at BIGINT NOT NULL
);
INSERT INTO commit_mark (id, seq, at) VALUES (1, 0, 0);

CREATE TABLE lock (
  key TEXT PRIMARY KEY
);

CREATE TABLE counter (
  name TEXT PRIMARY KEY,
  value BIGINT NOT NULL
);
INSERT INTO counter (name, value) VALUES ('incident', 0);

-- Resources: what people write.

CREATE TABLE catalog (
  id BIGINT PRIMARY KEY,
  rev BIGINT NOT NULL
);
INSERT INTO catalog (id, rev) VALUES (1, 0);

CREATE TABLE resource (
  kind TEXT NOT NULL,
  id TEXT COLLATE "C" NOT NULL,
  identity TEXT NOT NULL,
  shape BIGINT NOT NULL,
  body TEXT NOT NULL,
  source TEXT,
  rev BIGINT NOT NULL,
  created_at BIGINT NOT NULL,
  updated_at BIGINT NOT NULL,
  PRIMARY KEY (kind, id),
  UNIQUE (kind, identity)
);
CREATE INDEX resource_rev ON resource (rev);

CREATE TABLE resource_history (
  kind TEXT NOT NULL,
  id TEXT COLLATE "C" NOT NULL,
  rev BIGINT NOT NULL,
  identity TEXT NOT NULL,
  shape BIGINT NOT NULL,
  body TEXT,
  actor TEXT NOT NULL,
  at BIGINT NOT NULL,
  PRIMARY KEY (kind, id, rev)
);
CREATE INDEX resource_history_rev ON resource_history (rev);

-- Credentials.

CREATE TABLE token (
  id TEXT COLLATE "C" PRIMARY KEY,
  name TEXT NOT NULL,
  hash TEXT NOT NULL UNIQUE,
  scopes TEXT NOT NULL,
  person_id TEXT,
  created_at BIGINT NOT NULL,
  revoked_at BIGINT
);

-- Records: runs and how tests stand.

CREATE TABLE run (
  id TEXT COLLATE "C" PRIMARY KEY,
  test_id TEXT NOT NULL,
  environment TEXT NOT NULL,
  location TEXT NOT NULL,
  slot BIGINT,
  attempt BIGINT NOT NULL,
  started_at BIGINT NOT NULL,
  finished_at BIGINT NOT NULL,
  verdict TEXT NOT NULL,
  why TEXT,
  judged TEXT NOT NULL,
  teardown TEXT NOT NULL,
  catalog_rev BIGINT NOT NULL,
  evidence_day TEXT,
  evidence_at BIGINT,
  evidence_len BIGINT
);
CREATE INDEX run_by_test ON run (test_id, environment, started_at);
CREATE INDEX run_by_age ON run (started_at);

CREATE TABLE standing (
  test_id TEXT NOT NULL,
  environment TEXT NOT NULL,
  location TEXT NOT NULL,
  state TEXT NOT NULL,
  PRIMARY KEY (test_id, environment, location)
);

CREATE TABLE watermark (
  location TEXT NOT NULL,
  probe TEXT NOT NULL,
  boot TEXT NOT NULL,
  seq BIGINT NOT NULL,
  through BIGINT NOT NULL,
  PRIMARY KEY (location, probe)
);

CREATE TABLE slot_exception (
  test_id TEXT NOT NULL,
  environment TEXT NOT NULL,
  location TEXT NOT NULL,
  first_slot BIGINT NOT NULL,
  last_slot BIGINT NOT NULL,
  slots BIGINT NOT NULL,
  reason TEXT NOT NULL,
  PRIMARY KEY (test_id, environment, location, first_slot)
);
CREATE INDEX slot_exception_by_age ON slot_exception (last_slot);

-- Records: alerts and incidents.

CREATE TABLE incident (
  id TEXT COLLATE "C" PRIMARY KEY,
  number BIGINT NOT NULL UNIQUE,
  service_id TEXT NOT NULL,
  status TEXT NOT NULL,
  urgency TEXT NOT NULL,
  opened_at BIGINT NOT NULL,
  changed_at BIGINT NOT NULL,
  resolved_at BIGINT,
  version BIGINT NOT NULL,
  state TEXT NOT NULL
);
CREATE INDEX incident_by_status ON incident (status, number);
CREATE INDEX incident_by_service ON incident (service_id, status);

CREATE TABLE alert (
  id TEXT COLLATE "C" PRIMARY KEY,
  incident_id TEXT NOT NULL REFERENCES incident (id),
  service_id TEXT NOT NULL,
  dedup_key TEXT NOT NULL,
  test_id TEXT,
  environment TEXT,
  why TEXT NOT NULL,
  opened_at BIGINT NOT NULL,
  resolved_at BIGINT,
  triggers BIGINT NOT NULL,
  first_run TEXT,
  last_run TEXT
);
CREATE UNIQUE INDEX alert_open ON alert (dedup_key) WHERE resolved_at IS NULL;
CREATE INDEX alert_by_incident ON alert (incident_id);

CREATE TABLE log_entry (
  id TEXT COLLATE "C" PRIMARY KEY,
  incident_id TEXT NOT NULL REFERENCES incident (id),
  seq BIGINT NOT NULL,
  at BIGINT NOT NULL,
  agent TEXT NOT NULL,
  entry TEXT NOT NULL,
  catalog_rev BIGINT NOT NULL,
  UNIQUE (incident_id, seq)
);

CREATE TABLE timer (
  subject TEXT NOT NULL,
  kind TEXT NOT NULL,
  due_at BIGINT NOT NULL,
  body TEXT NOT NULL,
  PRIMARY KEY (subject, kind)
);
CREATE INDEX timer_due ON timer (due_at);

-- Records: deliveries.

CREATE TABLE delivery (
  id TEXT COLLATE "C" PRIMARY KEY,
  seq BIGINT NOT NULL,
  lane TEXT NOT NULL,
  incident_id TEXT NOT NULL,
  recipient TEXT NOT NULL,
  channel_id TEXT NOT NULL,
  provider TEXT NOT NULL,
  address TEXT NOT NULL,
  purpose TEXT NOT NULL,
  body TEXT NOT NULL,
  status TEXT NOT NULL,
  why TEXT,
  due_at BIGINT NOT NULL,
  attempts BIGINT NOT NULL,
  fence BIGINT NOT NULL,
  lease_until BIGINT,
  possible_repeat BIGINT NOT NULL,
  bundle_id TEXT,
  provider_id TEXT,
  created_at BIGINT NOT NULL,
  finished_at BIGINT,
  UNIQUE (incident_id, seq)
);
CREATE INDEX delivery_claimable ON delivery (provider, due_at) WHERE status IN ('pending', 'claimed');
CREATE INDEX delivery_lane ON delivery (lane, seq) WHERE status IN ('pending', 'claimed');
CREATE INDEX delivery_by_bundle ON delivery (bundle_id);
CREATE INDEX delivery_by_provider_id ON delivery (provider_id);
CREATE INDEX delivery_by_address ON delivery (channel_id, address, seq);

CREATE TABLE attempt (
  bundle_id TEXT COLLATE "C" PRIMARY KEY,
  intent_at BIGINT NOT NULL,
  settled_at BIGINT,
  outcome TEXT
);

-- Records: what customers see.

CREATE TABLE component_state (
  component_id TEXT PRIMARY KEY,
  status TEXT NOT NULL,
  owner TEXT NOT NULL,
  changed_at BIGINT NOT NULL
);

CREATE TABLE component_pressure (
  component_id TEXT NOT NULL,
  incident_id TEXT NOT NULL,
  rule_id TEXT NOT NULL,
  status TEXT NOT NULL,
  PRIMARY KEY (component_id, incident_id)
);
CREATE INDEX component_pressure_by_incident ON component_pressure (incident_id);

CREATE TABLE component_change (
  id TEXT COLLATE "C" PRIMARY KEY,
  component_id TEXT NOT NULL,
  at BIGINT NOT NULL,
  before TEXT NOT NULL,
  after TEXT NOT NULL,
  cause TEXT NOT NULL,
  catalog_rev BIGINT NOT NULL
);
CREATE INDEX component_change_by_component ON component_change (component_id, at);

CREATE TABLE status_incident (
  id TEXT COLLATE "C" PRIMARY KEY,
  page_id TEXT NOT NULL,
  incident_id TEXT,
  rule_id TEXT,
  owner TEXT NOT NULL,
  created_at BIGINT NOT NULL,
  resolved_at BIGINT,
  body TEXT NOT NULL
);
CREATE INDEX status_incident_by_page ON status_incident (page_id, created_at);
CREATE INDEX status_incident_by_incident ON status_incident (incident_id);

CREATE TABLE published_page (
  page_id TEXT PRIMARY KEY,
  seq BIGINT NOT NULL,
  body TEXT NOT NULL
);
