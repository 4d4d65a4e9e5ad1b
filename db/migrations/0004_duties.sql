-- Who is told: what a duty row may depend on, who is on duty, and whose a building, a sensor or a site is.

-- ---------------------------------------------------------------- batches of duty rows

CREATE TABLE duty_batch (
    name        text PRIMARY KEY,
    starts_at   timestamptz NOT NULL DEFAULT '1970-01-01Z',   -- its rows hold from here on
    replaces    text[] NOT NULL DEFAULT '{}',                 -- batches that end then; * = all before it
    note        text NOT NULL DEFAULT '',
    sha256      text NOT NULL DEFAULT '',                     -- of the file it came from
    imported_at timestamptz NOT NULL DEFAULT now()
);
INSERT INTO duty_batch (name, note) SELECT DISTINCT batch, 'as found' FROM duty ON CONFLICT DO NOTHING;
INSERT INTO duty_batch (name, note) VALUES ('default', 'the rows a new home starts with') ON CONFLICT DO NOTHING;

ALTER TABLE duty
    ADD COLUMN matter   text NOT NULL DEFAULT '',      -- exact code, e.g. gb47678-2026:08011; '' = any
    ADD COLUMN days     text NOT NULL DEFAULT '',      -- '' | workday | holiday | 1-5 | 6,7 (1 = Monday)
    ADD COLUMN hours    text NOT NULL DEFAULT '',      -- '' | 08:30-18:00 | 18:00-08:30 (over midnight)
    ADD COLUMN source   text NOT NULL DEFAULT 'unit'   -- whose row it is: see docs/reference/duties.md
               CHECK (source IN ('unit', 'owner', 'maintainer', 'permit')),
    ADD COLUMN within_m double precision NOT NULL DEFAULT 0 CHECK (within_m BETWEEN 0 AND 1000),
    DROP CONSTRAINT duty_role_check,
    ADD CONSTRAINT duty_role_check CHECK (role IN ('lead', 'co', 'owner', 'maintainer')),
    ADD FOREIGN KEY (batch) REFERENCES duty_batch (name);
CREATE INDEX duty_batch_rows ON duty (batch);

-- ---------------------------------------------------------------- units and who of them is on duty

CREATE TABLE unit (
    id      text PRIMARY KEY,                -- level:code or level:code:department, as duties name it
    name    text NOT NULL,
    name_en text NOT NULL DEFAULT '',
    desk    text NOT NULL DEFAULT '',        -- who answers when nobody is on the rota
    contact text NOT NULL DEFAULT ''
);

CREATE TABLE rota (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    unit       text NOT NULL,
    person     text NOT NULL,
    contact    text NOT NULL DEFAULT '',
    instead_of text NOT NULL DEFAULT '',     -- not empty: a substitution for this person
    days       text NOT NULL DEFAULT '',
    hours      text NOT NULL DEFAULT '',
    valid_from timestamptz NOT NULL DEFAULT '1970-01-01Z',
    valid_to   timestamptz
);
CREATE INDEX rota_unit ON rota (unit);

-- Days that are not what their weekday says: holidays, and weekends that are worked.
CREATE TABLE holiday (
    day  date PRIMARY KEY,
    kind text NOT NULL CHECK (kind IN ('holiday', 'workday')),
    name text NOT NULL DEFAULT ''
);

-- ---------------------------------------------------------------- whose it is

CREATE TABLE building_owner (
    building text PRIMARY KEY CHECK (building ~ '^[0-9]{19}$'),   -- first 19 digits of the address
    unit     text NOT NULL,
    name     text NOT NULL,
    name_en  text NOT NULL DEFAULT ''
);

CREATE TABLE maintainer (
    device  text NOT NULL DEFAULT '',        -- a device's id, or …
    kind    text NOT NULL DEFAULT '',        -- … a kind of device ('' = every kind), and …
    place   text NOT NULL DEFAULT '',        -- … the code prefix it holds for
    unit    text NOT NULL,
    name    text NOT NULL,
    name_en text NOT NULL DEFAULT '',
    PRIMARY KEY (device, kind, place)
);

CREATE TABLE works_permit (
    id         text PRIMARY KEY,
    name       text NOT NULL,                -- the site
    name_en    text NOT NULL DEFAULT '',
    unit       text NOT NULL,                -- who works there
    lon        double precision NOT NULL,    -- WGS-84
    lat        double precision NOT NULL,
    radius_m   double precision NOT NULL DEFAULT 0 CHECK (radius_m BETWEEN 0 AND 1000),
    valid_from timestamptz NOT NULL,
    valid_to   timestamptz NOT NULL,
    CHECK (valid_from < valid_to)
);

-- ---------------------------------------------------------------- the catalogue of matters

ALTER TABLE matter
    ADD COLUMN class      text NOT NULL DEFAULT '',   -- the standard's class, e.g. 施工管理类
    ADD COLUMN department text NOT NULL DEFAULT '';   -- who usually leads

-- ---------------------------------------------------------------- the stamp that says "read again"

CREATE TABLE duty_stamp (
    one     boolean PRIMARY KEY DEFAULT true CHECK (one),
    changes bigint NOT NULL DEFAULT 0        -- statements that changed a table of duties, batches, rota or parties
);
INSERT INTO duty_stamp DEFAULT VALUES;

CREATE FUNCTION bump_duty_stamp() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE duty_stamp SET changes = changes + 1;
    RETURN NULL;
END $$;

DO $$
DECLARE t text;
BEGIN
    FOREACH t IN ARRAY ARRAY['duty', 'duty_batch', 'unit', 'rota', 'holiday', 'building_owner', 'maintainer',
                             'works_permit'] LOOP
        EXECUTE format('CREATE TRIGGER duty_stamp AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON %I'
                       ' FOR EACH STATEMENT EXECUTE FUNCTION bump_duty_stamp()', t);
    END LOOP;
END $$;
