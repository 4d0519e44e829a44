-- What is known to be wrong with a channel, or with one address on it: it is gone, its credentials are refused,
-- its receiver takes nothing, or the number behind the address asked for silence.
CREATE TABLE channel_finding (
  channel_id TEXT NOT NULL,
  address TEXT NOT NULL,
  finding TEXT NOT NULL,
  why TEXT NOT NULL,
  revision BIGINT NOT NULL,
  since BIGINT NOT NULL,
  PRIMARY KEY (channel_id, address)
);
-- A callback that comes again gets the answer that it got first.
ALTER TABLE callback ADD COLUMN answer TEXT;
