-- Places that matter when something happens beside them, and who is told in which ring round an alert.

CREATE TABLE key_place (
    id         text PRIMARY KEY CHECK (id ~ '^[A-Za-z0-9._-]{1,64}$'),
    kind       text NOT NULL CHECK (kind IN ('school', 'kindergarten', 'hospital', 'nursing_home', 'market',
                                             'fuel_station', 'transport', 'government', 'other')),
    name       text NOT NULL,
    name_en    text NOT NULL DEFAULT '',
    lon        double precision NOT NULL,    -- WGS-84
    lat        double precision NOT NULL,
    address_id text,
    people     integer CHECK (people >= 0),  -- who may be inside; NULL = not known
    town       text, village text, grid text,   -- as located
    generated  boolean NOT NULL DEFAULT false,
    version    text NOT NULL
);
CREATE INDEX key_place_lat ON key_place (lat, lon);
CREATE INDEX device_lat ON device (lat, lon) WHERE run IS NULL;

CREATE TABLE zone_rule (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind         text NOT NULL,              -- alert kind, * at the end = any below; the longest that fits counts
    severity_min smallint NOT NULL DEFAULT 1 CHECK (severity_min BETWEEN 1 AND 4),  -- holds when severity <= this
    radius_m     double precision NOT NULL CHECK (radius_m > 0 AND radius_m <= 5000),
    action       text NOT NULL CHECK (action IN ('evacuate', 'control', 'notify')),
    level        text NOT NULL CHECK (level IN ('grid', 'village', 'town', 'city')),
    department   text NOT NULL DEFAULT '',   -- '' = the territory itself
    name         text NOT NULL,              -- {place} is the territory's name
    name_en      text NOT NULL,
    why          text NOT NULL,
    valid_from   timestamptz NOT NULL DEFAULT '1970-01-01Z',
    valid_to     timestamptz,
    UNIQUE (kind, severity_min, radius_m, level, department, valid_from)
);

-- What a new home starts with: red alerts of what can hurt people in a building or a street.
INSERT INTO zone_rule (kind, radius_m, action, level, department, name, name_en, why)
SELECT kinds.kind, ring.radius_m, ring.action, ring.level, ring.department, ring.name, ring.name_en, ring.why
FROM (VALUES ('vibration.*'), ('structure.*'), ('fire.*'), ('camera.fire'), ('gas.*'), ('flood.*')) AS kinds (kind),
     (VALUES
        (50, 'evacuate', 'town', 'fire', '{place}消防救援大队', 'Fire brigade of {place}',
         '危险区组织疏散救援 · evacuates and rescues'),
        (50, 'evacuate', 'village', '', '{place}工作站', 'Village desk of {place}',
         '掌握住户和特殊人群 · knows who lives there and who needs help'),
        (50, 'evacuate', 'grid', '', '{place}网格员', 'Grid worker of {place}', '逐户通知 · goes from door to door'),
        (200, 'control', 'town', 'police', '{place}公安分局', 'Police of {place}', '设置警戒、管控交通 · closes the roads'),
        (200, 'control', 'village', '', '{place}工作站', 'Village desk of {place}', '劝阻进入 · keeps people out'),
        (500, 'notify', 'village', '', '{place}工作站', 'Village desk of {place}', '告知周边 · tells the neighbourhood'),
        (500, 'notify', 'town', 'emergency', '{place}应急管理分局', 'Emergency office of {place}',
         '掌握态势、准备支援 · keeps watch and stands ready')
     ) AS ring (radius_m, action, level, department, name, name_en, why);
