-- What a device measures from and with: its building, its floor, its calibration; and its certificates.

ALTER TABLE device
    ADD COLUMN building    text CHECK (building ~ '^[0-9]{19}$'),  -- the building part of an address
    ADD COLUMN floor       smallint CHECK (floor BETWEEN -20 AND 200),  -- 0 = ground floor, -1 = first basement
    ADD COLUMN calibration jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(calibration) = 'object');

-- Certificates given to devices by our own authority; the broker's revocation list is made from it.
CREATE TABLE device_certificate (
    serial     text PRIMARY KEY CHECK (serial ~ '^[0-9a-f]{1,40}$'),  -- hexadecimal
    device     text NOT NULL CHECK (device ~ '^[A-Za-z0-9._-]{1,64}$'),  -- its common name
    issued_at  timestamptz NOT NULL DEFAULT now(),
    not_after  timestamptz NOT NULL,
    revoked_at timestamptz                 -- NULL = good until not_after
);
CREATE INDEX device_certificate_device ON device_certificate (device);
