-- PostgreSQL numbers incidents by a sequence, so that they do not open one after the other; a number may be left out. SQLite
-- has one writer and keeps its counter: these two lines fall away there.
CREATE SEQUENCE incident_number;
SELECT setval('incident_number', (SELECT value FROM counter WHERE name = 'incident') + 1, false);
