-- What detectors remember, and which process detects.

-- One checkpoint: the parts of all rules, written and replaced in one transaction.
CREATE TABLE detector_state (
    rule     text NOT NULL,               -- '' = how far each series was fed
    part     integer NOT NULL,
    version  integer NOT NULL,            -- of the rule
    detector text NOT NULL,
    settings jsonb NOT NULL,              -- by which it was learnt
    saved_at timestamptz NOT NULL,
    body     bytea NOT NULL,              -- zlib of numpy arrays (npz)
    PRIMARY KEY (rule, part)
);
ALTER TABLE detector_state ALTER COLUMN body SET STORAGE EXTERNAL;

-- The process that detects holds an advisory lock; each new holder takes the next term.
CREATE TABLE detection_owner (
    one   boolean PRIMARY KEY DEFAULT true CHECK (one),
    term  bigint NOT NULL,
    owner text NOT NULL,
    since timestamptz NOT NULL
);
INSERT INTO detection_owner VALUES (true, 0, '', now());
