-- Claims whose lease is over are found without a look at everything that waits.
CREATE INDEX delivery_claimed ON delivery (lease_until) WHERE status = 'claimed';
-- SQLite counts on from the newest incident, PostgreSQL has its sequence.
DROP TABLE counter;
