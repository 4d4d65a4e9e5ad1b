-- Address ids of another rule than Shenzhen's 25 digits: how many digits follow the village's twelve.
CREATE TABLE address_rule (
    one              boolean PRIMARY KEY DEFAULT true CHECK (one),
    base_grid_digits integer NOT NULL DEFAULT 2 CHECK (base_grid_digits BETWEEN 0 AND 3),
    building_digits  integer NOT NULL DEFAULT 5 CHECK (building_digits >= 1),
    room_digits      integer NOT NULL DEFAULT 6 CHECK (room_digits >= 0),  -- 0 = ids name buildings only
    CHECK (12 + base_grid_digits + building_digits + room_digits BETWEEN 16 AND 25)
);
INSERT INTO address_rule DEFAULT VALUES;

-- NOT VALID: what is there met the narrower rule, so ten million rows need not be read for it.
ALTER TABLE address DROP CONSTRAINT address_id_check,
    ADD CONSTRAINT address_id_check CHECK (id ~ '^[0-9]{16,25}$') NOT VALID;
ALTER TABLE building_owner DROP CONSTRAINT building_owner_building_check,
    ADD CONSTRAINT building_owner_building_check CHECK (building ~ '^[0-9]{13,25}$') NOT VALID;
ALTER TABLE device DROP CONSTRAINT device_building_check,
    ADD CONSTRAINT device_building_check CHECK (building ~ '^[0-9]{13,25}$') NOT VALID;
