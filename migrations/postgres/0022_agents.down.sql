DROP TABLE remediations;
DROP TABLE agent_executions;
CREATE TABLE agent_executions (
    id          UUID PRIMARY KEY,
    incident_id UUID NOT NULL REFERENCES incidents (id),
    agent_name  VARCHAR(100) NOT NULL,
    input_data  JSONB,
    output_data JSONB,
    tool_calls  JSONB,
    tokens_used INTEGER,
    duration_ms INTEGER,
    status      VARCHAR(20) NOT NULL CHECK (status IN ('success', 'failed', 'timeout')),
    created_at  TIMESTAMPTZ NOT NULL
);
CREATE INDEX agent_executions_by_incident ON agent_executions (incident_id, created_at);
CREATE TABLE remediations (
    id           UUID PRIMARY KEY,
    incident_id  UUID NOT NULL REFERENCES incidents (id),
    action_type  VARCHAR(50) NOT NULL,
    target       VARCHAR(255) NOT NULL,
    namespace    VARCHAR(100),
    status       VARCHAR(20) NOT NULL,
    before_state JSONB,
    after_state  JSONB,
    created_at   TIMESTAMPTZ NOT NULL
);
CREATE INDEX remediations_by_incident ON remediations (incident_id, created_at);
