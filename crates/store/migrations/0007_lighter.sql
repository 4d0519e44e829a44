-- Indexes hold what is looked for by them and no more: each page that a commit touches is written to the log whole.
DROP INDEX delivery_by_bundle;
CREATE INDEX delivery_by_bundle ON delivery (bundle_id) WHERE bundle_id IS NOT NULL;
DROP INDEX delivery_by_address;
CREATE INDEX delivery_by_address ON delivery (carrier_id, address, seq) WHERE carrier_id IS NOT NULL;
DROP INDEX delivery_by_carrier;
CREATE INDEX delivery_by_carrier ON delivery (carrier_id, finished_at) WHERE finished_at IS NOT NULL;
DROP INDEX delivery_by_target;
CREATE INDEX delivery_by_target ON delivery (target, due_at, status) WHERE status = 'pending';
DROP INDEX alert_by_key;
CREATE INDEX alert_by_key ON alert (dedup_key, opened_at) WHERE resolved_at IS NOT NULL;
-- Nobody looks a delivery up by its provider's id; and what is open of one service is asked for when rules change.
DROP INDEX delivery_by_provider_id;
DROP INDEX incident_by_service;

-- Rows that are only ever found by what they belong to stand in its order, without an index of their own.
CREATE TABLE timeline (
  incident_id TEXT NOT NULL REFERENCES incident (id),
  seq BIGINT NOT NULL,
  id TEXT COLLATE "C" NOT NULL,
  at BIGINT NOT NULL,
  agent TEXT NOT NULL,
  entry TEXT NOT NULL,
  catalog_rev BIGINT NOT NULL,
  PRIMARY KEY (incident_id, seq)
) /* clustered */;
INSERT INTO timeline SELECT incident_id, seq, id, at, agent, entry, catalog_rev FROM log_entry;
DROP TABLE log_entry;
ALTER TABLE timeline RENAME TO log_entry;
ALTER TABLE log_entry RENAME CONSTRAINT timeline_pkey TO log_entry_pkey;
ALTER TABLE log_entry RENAME CONSTRAINT timeline_incident_id_fkey TO log_entry_incident_id_fkey;
CREATE TABLE alarm_clock (
  subject TEXT NOT NULL,
  kind TEXT NOT NULL,
  due_at BIGINT NOT NULL,
  body TEXT NOT NULL,
  PRIMARY KEY (subject, kind)
) /* clustered */;
INSERT INTO alarm_clock SELECT subject, kind, due_at, body FROM timer;
DROP TABLE timer;
ALTER TABLE alarm_clock RENAME TO timer;
ALTER TABLE timer RENAME CONSTRAINT alarm_clock_pkey TO timer_pkey;
CREATE INDEX timer_due ON timer (due_at);

-- Whoever waited for a lock may have waited for a change of the configuration: its revision is read once the lock is held.
CREATE FUNCTION take_lock(wanted TEXT) RETURNS BIGINT LANGUAGE plpgsql AS $$ BEGIN PERFORM 1 FROM lock WHERE key = wanted FOR UPDATE; IF NOT FOUND THEN INSERT INTO lock (key) VALUES (wanted) ON CONFLICT (key) DO NOTHING; PERFORM 1 FROM lock WHERE key = wanted FOR UPDATE; END IF; RETURN (SELECT rev FROM catalog WHERE id = 1); END $$;
