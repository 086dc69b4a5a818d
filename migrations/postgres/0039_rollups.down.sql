-- Tables, or with TimescaleDB continuous aggregates, which are views.
DO $$
DECLARE
    rollup TEXT;
BEGIN
    FOREACH rollup IN ARRAY ARRAY[
        'pipeline_metrics_by_day',
        'pipeline_metrics_by_hour',
        'pipeline_metrics_by_minute',
        'remediations_by_day',
        'remediations_by_hour',
        'remediations_by_minute',
        'executions_by_day',
        'executions_by_hour',
        'executions_by_minute',
        'incident_events_by_day',
        'incident_events_by_hour',
        'incident_events_by_minute',
        'signals_by_day',
        'signals_by_hour',
        'signals_by_minute'
    ] LOOP
        IF EXISTS (SELECT FROM pg_class WHERE oid = to_regclass(rollup) AND relkind = 'v') THEN
            EXECUTE format('DROP MATERIALIZED VIEW %I', rollup);
        ELSE
            EXECUTE format('DROP TABLE IF EXISTS %I', rollup);
        END IF;
    END LOOP;
END $$;
