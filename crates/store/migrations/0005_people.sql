-- People who sign in: passwords, sessions, and links that are good once.

CREATE TABLE password (
  person_id TEXT COLLATE "C" PRIMARY KEY,
  hash TEXT NOT NULL,
  is_owner BIGINT NOT NULL,
  changed_at BIGINT NOT NULL
);

CREATE TABLE session (
  hash TEXT COLLATE "C" PRIMARY KEY,
  person_id TEXT COLLATE "C" NOT NULL,
  created_at BIGINT NOT NULL,
  expires_at BIGINT NOT NULL
);
CREATE INDEX session_by_person ON session (person_id);
CREATE INDEX session_by_age ON session (expires_at);

CREATE TABLE entry_link (
  hash TEXT COLLATE "C" PRIMARY KEY,
  kind TEXT NOT NULL,
  person_id TEXT,
  expires_at BIGINT NOT NULL
);
