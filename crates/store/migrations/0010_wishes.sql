-- Runs that somebody asked for and that have not begun: one for a test and environment.
CREATE TABLE run_wish (
  test_id TEXT NOT NULL,
  environment TEXT NOT NULL,
  person TEXT NOT NULL,
  asked_at BIGINT NOT NULL,
  PRIMARY KEY (test_id, environment)
);
