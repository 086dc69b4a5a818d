-- A message that was begun and of which nobody knows yet how it ended: written before the call, gone when the delivery is remembered.
-- Who finds one after a restart asks the receiver whether it has the message already.
CREATE TABLE notify_attempts (
    receiver        TEXT NOT NULL,
    notification_id TEXT NOT NULL,
    incident_id     TEXT NOT NULL,
    at              TEXT NOT NULL,
    PRIMARY KEY (receiver, notification_id)
);
CREATE INDEX notify_attempts_by_incident ON notify_attempts (incident_id, receiver);
