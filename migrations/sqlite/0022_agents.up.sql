-- The crew's steps and the remediations, now projections of `incidents` and `remediations`. Both tables were empty until here: nothing
-- wrote them. A step is `running` until its answer; a remediation's status follows its facts.
DROP TABLE agent_executions;
CREATE TABLE agent_executions (
    id           TEXT PRIMARY KEY NOT NULL,
    incident_id  TEXT NOT NULL REFERENCES incidents (id),
    agent_name   VARCHAR(100) NOT NULL,
    input_data   TEXT CHECK (json_valid(input_data)),
    output_data  TEXT CHECK (json_valid(output_data)),
    tool_calls   TEXT CHECK (json_valid(tool_calls)),
    tokens_used  BIGINT,
    duration_ms  BIGINT,
    status       VARCHAR(20) NOT NULL CHECK (status IN ('running', 'success', 'failed', 'timeout', 'cancelled')),
    created_at   TEXT NOT NULL,
    -- Beyond the published columns:
    run_id       TEXT NOT NULL,
    attempt      BIGINT NOT NULL,
    error        TEXT,
    finished_at  TEXT
);
CREATE INDEX agent_executions_by_incident ON agent_executions (incident_id, created_at);
CREATE INDEX agent_executions_by_time ON agent_executions (created_at);

DROP TABLE remediations;
CREATE TABLE remediations (
    id           TEXT PRIMARY KEY NOT NULL,
    incident_id  TEXT NOT NULL REFERENCES incidents (id),
    action_type  VARCHAR(50) NOT NULL,
    target       VARCHAR(255) NOT NULL,
    namespace    VARCHAR(100),
    status       VARCHAR(20) NOT NULL,
    before_state TEXT CHECK (json_valid(before_state)),
    after_state  TEXT CHECK (json_valid(after_state)),
    created_at   TEXT NOT NULL,
    -- Beyond the published columns:
    cluster      TEXT NOT NULL,
    plan_hash    TEXT NOT NULL,
    reason       TEXT NOT NULL,
    proposal     TEXT CHECK (json_valid(proposal)),
    proposed_by  TEXT NOT NULL,
    decided_by   TEXT,
    note         TEXT,
    expires_at   TEXT NOT NULL,
    updated_at   TEXT NOT NULL
);
CREATE INDEX remediations_by_incident ON remediations (incident_id, created_at);
CREATE INDEX remediations_by_status ON remediations (status, created_at);
