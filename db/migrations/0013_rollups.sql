-- Rollups of readings by minute and by hour, kept by ingest on both TimescaleDB editions.

-- Which series there are: reading has no index that could say so without reading it all.
CREATE TABLE series (
    device integer NOT NULL,
    metric integer NOT NULL,
    PRIMARY KEY (device, metric)
);

WITH RECURSIVE found AS (
    (SELECT device, metric FROM reading ORDER BY device, metric LIMIT 1)
    UNION ALL
    SELECT next.device, next.metric FROM found CROSS JOIN LATERAL (
        SELECT r.device, r.metric FROM reading r WHERE (r.device, r.metric) > (found.device, found.metric)
        ORDER BY r.device, r.metric LIMIT 1) AS next
)
INSERT INTO series SELECT device, metric FROM found WHERE device <> 0;

CREATE TABLE reading_1m (
    device  integer NOT NULL,
    metric  integer NOT NULL,
    bucket  timestamptz NOT NULL,         -- where the minute begins
    n       integer NOT NULL,
    sum     double precision NOT NULL,    -- of values bounded to +-1e290; the mean is sum / n
    min     double precision NOT NULL,
    max     double precision NOT NULL,
    last    double precision NOT NULL,    -- the newest by event time
    last_at timestamptz NOT NULL,
    PRIMARY KEY (device, metric, bucket)
);
SELECT create_hypertable('reading_1m', by_range('bucket', INTERVAL '7 days'), create_default_indexes => false);

CREATE TABLE reading_1h (
    device  integer NOT NULL,
    metric  integer NOT NULL,
    bucket  timestamptz NOT NULL,         -- where the hour begins
    n       integer NOT NULL,
    sum     double precision NOT NULL,
    min     double precision NOT NULL,
    max     double precision NOT NULL,
    last    double precision NOT NULL,
    last_at timestamptz NOT NULL,
    PRIMARY KEY (device, metric, bucket)
);
SELECT create_hypertable('reading_1h', by_range('bucket', INTERVAL '30 days'), create_default_indexes => false);

CREATE TABLE rollup_progress (
    one      boolean PRIMARY KEY DEFAULT true CHECK (one),
    through  timestamptz,                 -- everything before it is rolled, but for the marks in rollup_dirty
    raw_from timestamptz                  -- hours before it have lost readings to retention: never recomputed
);
INSERT INTO rollup_progress DEFAULT VALUES;

-- Hours that got readings after they were rolled. Append-only, so that ingest waits for nobody.
CREATE TABLE rollup_dirty (
    id     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    device integer NOT NULL,
    hour   timestamptz NOT NULL
);
CREATE INDEX rollup_dirty_device ON rollup_dirty (device, hour);
CREATE INDEX rollup_dirty_hour ON rollup_dirty (hour);
