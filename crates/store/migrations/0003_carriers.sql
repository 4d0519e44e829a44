-- Which of two channels carried a message, and links in mails. Messages wait by channel: a slow one holds no other up.

ALTER TABLE delivery ADD COLUMN carrier_id TEXT;
UPDATE delivery SET carrier_id = channel_id WHERE bundle_id IS NOT NULL;
DROP INDEX delivery_claimable;
CREATE INDEX delivery_claimable ON delivery (channel_id, provider, due_at) WHERE status IN ('pending', 'claimed');
DROP INDEX delivery_by_address;
CREATE INDEX delivery_by_address ON delivery (carrier_id, address, seq);
CREATE INDEX delivery_by_carrier ON delivery (carrier_id, finished_at);
CREATE INDEX delivery_parked ON delivery (finished_at) WHERE status = 'parked';

ALTER TABLE attempt ADD COLUMN link_hash TEXT;
ALTER TABLE attempt ADD COLUMN link TEXT;
CREATE UNIQUE INDEX attempt_by_link ON attempt (link_hash);
