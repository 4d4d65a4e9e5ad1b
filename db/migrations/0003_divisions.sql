-- Regions and cells are valid from a time to a time; a new division ends rows and begins others.
ALTER TABLE region ADD CONSTRAINT region_validity CHECK (valid_to IS NULL OR valid_to > valid_from);
ALTER TABLE grid_cell ADD CONSTRAINT grid_cell_validity CHECK (valid_to IS NULL OR valid_to > valid_from);

-- What "the next change" is asked of, each minute and by every process.
CREATE INDEX region_valid_from ON region (valid_from);
CREATE INDEX region_valid_to ON region (valid_to) WHERE valid_to IS NOT NULL;
CREATE INDEX grid_cell_valid_from ON grid_cell (valid_from);
CREATE INDEX grid_cell_valid_to ON grid_cell (valid_to) WHERE valid_to IS NOT NULL;

-- Counts every change of places, so that a process that polls sees one whose notification it missed.
CREATE TABLE place_state (
    one     boolean PRIMARY KEY DEFAULT true CHECK (one),
    changes bigint NOT NULL DEFAULT 0
);
INSERT INTO place_state DEFAULT VALUES;
