-- Incidents: alerts that belong together, as one thing that is raised, grows and closes.
-- An incident's changes share the alerts' cursor, so that one feed has both in commit order.

ALTER TABLE incident
    ADD COLUMN version   integer NOT NULL DEFAULT 1,
    ADD COLUMN cursor    bigint NOT NULL DEFAULT 0,      -- of its newest change
    ADD COLUMN condition text NOT NULL DEFAULT 'active' CHECK (condition IN ('active', 'cleared')),
    ADD COLUMN places    text[] NOT NULL DEFAULT '{}',   -- codes its members lie in, for areas
    ADD COLUMN memory    jsonb NOT NULL DEFAULT '{}',    -- what association needs after a restart
    ADD CONSTRAINT incident_state CHECK (state IN ('open', 'closed'));
CREATE INDEX incident_listed ON incident (started_at DESC, id);
CREATE INDEX incident_exercise ON incident (exercise) WHERE exercise IS NOT NULL;
CREATE INDEX alert_incident ON alert (incident_id) WHERE incident_id IS NOT NULL;

CREATE TABLE incident_change (
    cursor      bigint PRIMARY KEY,      -- of alert_cursor, as alert_change's
    incident_id text NOT NULL,
    version     integer NOT NULL,
    change      text NOT NULL,           -- raised, grew, worsened, updated, merged, cleared, active, closed, reopened
    actor       text NOT NULL,           -- "association", or who closed the last alert
    at          timestamptz NOT NULL,
    reason      text NOT NULL DEFAULT '',
    exercise    text,
    body        jsonb NOT NULL           -- the whole incident after the change
);
CREATE INDEX incident_change_incident ON incident_change (incident_id, cursor);
CREATE INDEX incident_change_exercise ON incident_change (exercise) WHERE exercise IS NOT NULL;
