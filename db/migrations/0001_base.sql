-- Tables of the contract, section 8. Runs on both TimescaleDB editions.
-- No foreign keys from hypertables (concurrent COPY into a new chunk would
-- deadlock with updates of the referenced table); keys are resolved in memory.

CREATE EXTENSION IF NOT EXISTS timescaledb;

-- ---------------------------------------------------------------- registry

CREATE TABLE metric (
    key   integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name  text NOT NULL UNIQUE CHECK (name ~ '^[A-Za-z][A-Za-z0-9_]{0,63}$')
);

CREATE TABLE region (
    code       text NOT NULL,              -- 6 city, 9 town, 12 village
    level      text NOT NULL CHECK (level IN ('city', 'town', 'village')),
    name       text NOT NULL,
    name_en    text NOT NULL DEFAULT '',
    parent     text,
    kind       text NOT NULL DEFAULT '',
    outline    jsonb NOT NULL,             -- GeoJSON geometry, WGS-84
    generated  boolean NOT NULL DEFAULT false,
    valid_from timestamptz NOT NULL DEFAULT '1970-01-01Z',
    valid_to   timestamptz,
    version    text NOT NULL,
    PRIMARY KEY (code, valid_from)
);
CREATE INDEX region_level ON region (level, code);

CREATE TABLE grid_cell (
    code       text NOT NULL CHECK (code ~ '^[0-9]{15}$'),
    village    text NOT NULL,
    town       text NOT NULL,
    outline    jsonb NOT NULL,
    generated  boolean NOT NULL DEFAULT false,
    valid_from timestamptz NOT NULL DEFAULT '1970-01-01Z',
    valid_to   timestamptz,
    version    text NOT NULL,
    PRIMARY KEY (code, valid_from)
);
CREATE INDEX grid_cell_village ON grid_cell (village);

CREATE TABLE address (
    id         text PRIMARY KEY CHECK (id ~ '^[0-9]{25}$'),
    text       text NOT NULL,
    road       text NOT NULL DEFAULT '',
    number     text NOT NULL DEFAULT '',
    grid       text NOT NULL,
    lon        double precision NOT NULL,
    lat        double precision NOT NULL,
    generated  boolean NOT NULL DEFAULT false,
    version    text NOT NULL
);
CREATE INDEX address_grid ON address (grid);

CREATE TABLE device (
    key            integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id             text NOT NULL,          -- as published
    run            text,                   -- the exercise it belongs to; NULL = real
    kind           text NOT NULL DEFAULT 'sensor',
    name           text NOT NULL DEFAULT '',
    lon            double precision,
    lat            double precision,
    datum_given    text,                   -- the datum the coordinate came in
    address_id     text,
    building_class text NOT NULL DEFAULT 'residential'
                   CHECK (building_class IN ('commercial', 'residential', 'sensitive')),
    mount          text NOT NULL DEFAULT 'foundation' CHECK (mount IN ('foundation', 'top_floor')),
    period_s       double precision,
    town           text, village text, grid text,   -- as located, for lists and areas
    disabled       boolean NOT NULL DEFAULT false,
    generated      boolean NOT NULL DEFAULT false,
    created_at     timestamptz NOT NULL DEFAULT now(),
    updated_at     timestamptz NOT NULL DEFAULT now(),
    last_seen      timestamptz,
    online         boolean,
    battery_pct    double precision,
    rssi_dbm       double precision,
    firmware       text,
    CHECK ((lon IS NULL) = (lat IS NULL))
);
CREATE UNIQUE INDEX device_id_run ON device (id, coalesce(run, ''));
CREATE INDEX device_town ON device (town, id);

-- What a camera has beyond a device.
CREATE TABLE camera (
    device      integer PRIMARY KEY REFERENCES device (key) ON DELETE CASCADE,
    bearing_deg double precision,
    fov_deg     double precision,
    range_m     double precision,
    height_m    double precision,
    gb28181_id  text
);

-- ---------------------------------------------------------------- what was received

CREATE TABLE reading (
    time   timestamptz NOT NULL,
    device integer NOT NULL,
    metric integer NOT NULL,
    value  double precision NOT NULL,
    seq    bigint NOT NULL,               -- -1 = none given
    late   boolean NOT NULL
);
SELECT create_hypertable('reading', by_range('time', INTERVAL '1 day'), create_default_indexes => false);
CREATE UNIQUE INDEX reading_key ON reading (device, metric, time);

-- One row a packet: samples are little-endian, 3 x n, x then y then z, multiplied by scale.
CREATE TABLE waveform (
    time     timestamptz NOT NULL,        -- of the first sample
    device   integer NOT NULL,
    rate_hz  double precision NOT NULL,
    unit     text NOT NULL,               -- m/s2 or mm/s
    n        integer NOT NULL,            -- samples per axis
    axes     smallint NOT NULL,           -- bit 0 x, 1 y, 2 z: which the packet carried
    encoding text NOT NULL CHECK (encoding IN ('f4', 'i2')),
    scale    double precision NOT NULL,
    seq      bigint NOT NULL,
    late     boolean NOT NULL,
    samples  bytea NOT NULL
);
SELECT create_hypertable('waveform', by_range('time', INTERVAL '6 hours'), create_default_indexes => false);
CREATE UNIQUE INDEX waveform_key ON waveform (device, time);
ALTER TABLE waveform ALTER COLUMN samples SET STORAGE EXTERNAL;

CREATE TABLE position (
    time        timestamptz NOT NULL,
    device      integer NOT NULL,
    lon         double precision NOT NULL,
    lat         double precision NOT NULL,
    speed_kmh   double precision,
    heading_deg double precision,
    bed         text,
    cover       text,
    seq         bigint NOT NULL,
    late        boolean NOT NULL
);
SELECT create_hypertable('position', by_range('time', INTERVAL '1 day'), create_default_indexes => false);
CREATE UNIQUE INDEX position_key ON position (device, time);

CREATE TABLE device_status (
    time        timestamptz NOT NULL,
    device      integer NOT NULL,
    online      boolean,
    battery_pct double precision,
    rssi_dbm    double precision,
    firmware    text
);
SELECT create_hypertable('device_status', by_range('time', INTERVAL '7 days'), create_default_indexes => false);
CREATE UNIQUE INDEX device_status_key ON device_status (device, time);

CREATE TABLE camera_event (
    device       integer NOT NULL,
    event_id     text NOT NULL,
    phase        text NOT NULL,
    time         timestamptz NOT NULL,
    type         text NOT NULL,
    score        double precision,
    box          double precision[],
    objects      text[] NOT NULL,
    snapshot_url text,
    clip_url     text,
    text         text,
    late         boolean NOT NULL,
    PRIMARY KEY (device, event_id, phase, time)
);

-- What broke a rule, kept whole. ``digest`` makes a second delivery harmless.
CREATE TABLE quarantine (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    received_at timestamptz NOT NULL,
    topic       text NOT NULL,
    device_id   text,
    run         text,
    reason      text NOT NULL,
    detail      text NOT NULL,
    payload     bytea NOT NULL,
    clock       text,                     -- the run's clock property, as given
    digest      bytea NOT NULL,
    count       integer NOT NULL DEFAULT 1,
    UNIQUE (digest)
);
CREATE INDEX quarantine_time ON quarantine (received_at);

-- received = stored + duplicate + rejected + quarantined, in messages, per device and minute of arrival.
CREATE TABLE ledger_minute (
    minute      timestamptz NOT NULL,
    device      integer NOT NULL,         -- 0 = unknown device
    received    bigint NOT NULL DEFAULT 0,
    stored      bigint NOT NULL DEFAULT 0,
    duplicate   bigint NOT NULL DEFAULT 0,
    rejected    bigint NOT NULL DEFAULT 0,
    quarantined bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (minute, device)
);

-- ---------------------------------------------------------------- alerts

CREATE TABLE rule (
    id         text PRIMARY KEY,
    detector   text NOT NULL,             -- threshold | vibration_limit | sta_lta | camera_event
    kind       text NOT NULL,             -- alert kind, e.g. vibration.limit
    version    integer NOT NULL DEFAULT 1,
    enabled    boolean NOT NULL DEFAULT true,
    settings   jsonb NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT now(),
    updated_by text NOT NULL DEFAULT 'default'
);

CREATE TABLE incident (
    id          text PRIMARY KEY,
    kind        text NOT NULL CHECK (kind IN ('building', 'area', 'device_fault', 'mixed')),
    severity    smallint NOT NULL,
    state       text NOT NULL,
    started_at  timestamptz NOT NULL,
    detected_at timestamptz NOT NULL,
    updated_at  timestamptz NOT NULL,
    exercise    text,
    body        jsonb NOT NULL
);

CREATE TABLE alert (
    id            text PRIMARY KEY,
    version       integer NOT NULL,
    cursor        bigint NOT NULL,        -- of its newest change
    kind          text NOT NULL,
    rule          text NOT NULL,
    device        integer NOT NULL,
    episode       timestamptz NOT NULL,   -- event time of the onset
    severity      smallint NOT NULL CHECK (severity BETWEEN 1 AND 4),
    condition     text NOT NULL CHECK (condition IN ('active', 'cleared')),
    state         text NOT NULL CHECK (state IN ('new', 'acknowledged', 'assigned', 'closed')),
    shelved_until timestamptz,
    town          text, village text, grid text,
    exercise      text,
    incident_id   text,
    started_at    timestamptz NOT NULL,
    updated_at    timestamptz NOT NULL,
    pushed_at     timestamptz,            -- first push to a live client, by any server
    body          jsonb NOT NULL,         -- the alert of the contract, section 7
    UNIQUE (rule, device, episode)        -- the same data gives the same alert, once
);
CREATE INDEX alert_open ON alert (severity, started_at DESC) WHERE state <> 'closed';
CREATE INDEX alert_device ON alert (device, started_at DESC);
CREATE INDEX alert_started ON alert (started_at DESC, id);
CREATE INDEX alert_exercise ON alert (exercise) WHERE exercise IS NOT NULL;

-- Append-only; cursor order is commit order because every writer first takes
-- the transaction lock of append_alert_change().
CREATE TABLE alert_change (
    cursor   bigint PRIMARY KEY,
    alert_id text NOT NULL,
    version  integer NOT NULL,
    change   text NOT NULL,               -- raised, updated, cleared, acknowledged, assigned, …
    actor    text NOT NULL,               -- user name, or "detector"
    at       timestamptz NOT NULL,
    reason   text NOT NULL DEFAULT '',
    exercise text,
    body     jsonb NOT NULL               -- the whole alert after the change
);
CREATE INDEX alert_change_alert ON alert_change (alert_id, cursor);
CREATE SEQUENCE alert_cursor;

-- The next cursors, in commit order. The lock is held to the end of the
-- transaction, so a lower cursor can never become visible after a higher one.
CREATE FUNCTION next_alert_cursor() RETURNS bigint LANGUAGE sql AS $$
    SELECT pg_advisory_xact_lock(7265011);
    SELECT nextval('alert_cursor');
$$;

CREATE TABLE case_file (
    id         text PRIMARY KEY,
    alert_id   text,
    stage      text NOT NULL,
    opened_at  timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    body       jsonb NOT NULL DEFAULT '{}'
);

CREATE TABLE case_step (
    id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    case_id text NOT NULL REFERENCES case_file (id),
    step    text NOT NULL,
    actor   text NOT NULL,
    at      timestamptz NOT NULL DEFAULT now(),
    reason  text NOT NULL DEFAULT '',
    body    jsonb NOT NULL DEFAULT '{}'
);

-- ---------------------------------------------------------------- duty

CREATE TABLE matter (
    code       text PRIMARY KEY,          -- standard:code, e.g. gb47678-2026:06014 or local:08999
    name       text NOT NULL,
    name_en    text NOT NULL DEFAULT '',
    standard   text NOT NULL,
    valid_from timestamptz NOT NULL DEFAULT '1970-01-01Z',
    valid_to   timestamptz
);

CREATE TABLE duty (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind         text NOT NULL,           -- alert kind, * at the end = any below
    severity_min smallint NOT NULL DEFAULT 4,   -- told when severity <= this (1 is worst)
    level        text NOT NULL CHECK (level IN ('grid', 'village', 'town', 'city')),
    department   text NOT NULL,           -- '' = the territory itself
    name         text NOT NULL,           -- {place} is the territory's name
    name_en      text NOT NULL,
    role         text NOT NULL CHECK (role IN ('lead', 'co', 'maintainer')),
    place        text NOT NULL DEFAULT '',      -- code prefix it holds for
    why          text NOT NULL,
    valid_from   timestamptz NOT NULL DEFAULT '1970-01-01Z',
    valid_to     timestamptz,
    batch        text NOT NULL DEFAULT 'default'
);

-- ---------------------------------------------------------------- people

CREATE TABLE app_user (
    name          text PRIMARY KEY CHECK (name ~ '^[A-Za-z0-9._-]{1,64}$'),
    password_hash text NOT NULL,
    role          text NOT NULL CHECK (role IN ('responder', 'dispatcher', 'engineer', 'operator')),
    area          text NOT NULL DEFAULT '',     -- code prefix the user sees; '' = the whole city
    language      text NOT NULL DEFAULT 'zh',
    demo          boolean NOT NULL DEFAULT false,
    disabled      boolean NOT NULL DEFAULT false,
    created_at    timestamptz NOT NULL DEFAULT now()
);

-- Bearer tokens and one-time tickets, hashed; what is deleted is signed out.
CREATE TABLE app_session (
    digest     bytea PRIMARY KEY,         -- SHA-256 of the token
    kind       text NOT NULL CHECK (kind IN ('bearer', 'ticket')),
    name       text NOT NULL REFERENCES app_user (name) ON DELETE CASCADE,
    expires_at timestamptz NOT NULL
);
CREATE INDEX app_session_expiry ON app_session (expires_at);

CREATE TABLE audit (
    id     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at     timestamptz NOT NULL DEFAULT now(),
    actor  text NOT NULL,
    action text NOT NULL,
    target text NOT NULL,
    body   jsonb NOT NULL DEFAULT '{}'
);

-- Accounts of devices and gateways in the broker; the broker's files are made from it.
CREATE TABLE broker_account (
    username      text PRIMARY KEY CHECK (username ~ '^[A-Za-z0-9._-]{1,64}$'),
    password_hash text NOT NULL,
    gateway       boolean NOT NULL DEFAULT false,
    children      text[] NOT NULL DEFAULT '{}',
    disabled      boolean NOT NULL DEFAULT false,
    created_at    timestamptz NOT NULL DEFAULT now()
);

-- Runs of simulate and replay.
CREATE TABLE run (
    id         text PRIMARY KEY,
    started_at timestamptz NOT NULL DEFAULT now(),
    newest_at  timestamptz NOT NULL DEFAULT now()
);
