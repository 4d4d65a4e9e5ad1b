-- Trips of trucks: where loads may come from and go to, what each trip was, and the
-- hand-overs at borders. Runs on both TimescaleDB editions.

-- A works site (load) or a tip (tip): an outline, or a point with a radius.
CREATE TABLE works_site (
    id         text PRIMARY KEY,
    kind       text NOT NULL CHECK (kind IN ('load', 'tip')),
    name       text NOT NULL,
    name_en    text NOT NULL DEFAULT '',
    outline    jsonb,                     -- GeoJSON geometry, WGS-84
    lon        double precision,
    lat        double precision,
    radius_m   double precision CHECK (radius_m > 0),
    generated  boolean NOT NULL DEFAULT false,
    valid_from timestamptz NOT NULL DEFAULT '1970-01-01Z',
    valid_to   timestamptz,
    CHECK (outline IS NOT NULL OR (lon IS NOT NULL AND lat IS NOT NULL AND radius_m IS NOT NULL))
);

-- What one truck may do (准运证). No valid row: nothing is said about its route and hours.
CREATE TABLE truck_permit (
    id         text PRIMARY KEY,
    vehicle    text NOT NULL,             -- device id
    towns      text[] NOT NULL DEFAULT '{}',    -- empty = any
    corridor   jsonb,                     -- GeoJSON LineString, WGS-84; NULL = any road
    buffer_m   double precision NOT NULL DEFAULT 200 CHECK (buffer_m > 0),
    hours_from time,                      -- local time of day; over midnight when from > to
    hours_to   time,
    generated  boolean NOT NULL DEFAULT false,
    valid_from timestamptz NOT NULL DEFAULT '1970-01-01Z',
    valid_to   timestamptz,
    CHECK ((hours_from IS NULL) = (hours_to IS NULL))
);
CREATE INDEX truck_permit_vehicle ON truck_permit (vehicle);

CREATE TABLE trip (
    id            text PRIMARY KEY,
    device        integer NOT NULL,
    exercise      text,
    state         text NOT NULL CHECK (state IN ('under way', 'ended', 'withdrawn')),
    started_at    timestamptz NOT NULL,
    newest_at     timestamptz NOT NULL,
    ended_because text,
    towns         text[] NOT NULL,        -- in the order of first entry
    case_id       text REFERENCES case_file (id),
    updated_at    timestamptz NOT NULL DEFAULT now(),
    body          jsonb NOT NULL
);
CREATE INDEX trip_device ON trip (device, started_at DESC);
CREATE INDEX trip_started ON trip (started_at DESC);

CREATE TABLE trip_leg (
    trip_id       text NOT NULL REFERENCES trip (id) ON DELETE CASCADE,
    level         text NOT NULL CHECK (level IN ('town', 'grid')),
    number        integer NOT NULL,       -- from 1, in event time
    code          text,                   -- NULL = outside all
    started_at    timestamptz NOT NULL,
    ended_at      timestamptz NOT NULL,
    ended_because text,                   -- border, gap, jump, or as the trip ended; NULL = goes on
    PRIMARY KEY (trip_id, level, number)
);
CREATE INDEX trip_leg_code ON trip_leg (code, started_at DESC);

-- Append-only; the sequence is the cursor, in commit order. A crossing that late points
-- disproved is followed by a row of its own with change 'withdrawn'.
CREATE TABLE handover (
    seq        bigint PRIMARY KEY,
    device     integer NOT NULL,
    trip_id    text,
    change     text NOT NULL CHECK (change IN ('crossed', 'withdrawn')),
    left_town    text,
    entered_town text,
    crossed_at timestamptz NOT NULL,      -- event time of the first point beyond the border
    at         timestamptz NOT NULL,      -- when it was written
    exercise   text,
    body       jsonb NOT NULL
);
CREATE INDEX handover_device ON handover (device, crossed_at DESC);
CREATE SEQUENCE handover_seq;

-- The next numbers, in commit order, as next_alert_cursor() does it.
CREATE FUNCTION next_handover_seq() RETURNS bigint LANGUAGE sql AS $$
    SELECT pg_advisory_xact_lock(7265031);
    SELECT nextval('handover_seq');
$$;
