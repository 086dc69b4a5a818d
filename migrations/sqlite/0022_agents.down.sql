DROP TABLE remediations;
DROP TABLE agent_executions;
CREATE TABLE agent_executions (
    id          TEXT PRIMARY KEY NOT NULL,
    incident_id TEXT NOT NULL REFERENCES incidents (id),
    agent_name  VARCHAR(100) NOT NULL,
    input_data  TEXT CHECK (json_valid(input_data)),
    output_data TEXT CHECK (json_valid(output_data)),
    tool_calls  TEXT CHECK (json_valid(tool_calls)),
    tokens_used INTEGER,
    duration_ms INTEGER,
    status      VARCHAR(20) NOT NULL CHECK (status IN ('success', 'failed', 'timeout')),
    created_at  TEXT NOT NULL
);
CREATE INDEX agent_executions_by_incident ON agent_executions (incident_id, created_at);
CREATE TABLE remediations (
    id           TEXT PRIMARY KEY NOT NULL,
    incident_id  TEXT NOT NULL REFERENCES incidents (id),
    action_type  VARCHAR(50) NOT NULL,
    target       VARCHAR(255) NOT NULL,
    namespace    VARCHAR(100),
    status       VARCHAR(20) NOT NULL,
    before_state TEXT CHECK (json_valid(before_state)),
    after_state  TEXT CHECK (json_valid(after_state)),
    created_at   TEXT NOT NULL
);
CREATE INDEX remediations_by_incident ON remediations (incident_id, created_at);
