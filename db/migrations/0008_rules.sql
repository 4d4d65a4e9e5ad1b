-- Rules as data: for which devices and from when to when, every version kept, changes heard at once.

ALTER TABLE device ADD COLUMN product text NOT NULL DEFAULT '';   -- maker's model, as rules name it

ALTER TABLE rule
    ADD COLUMN applies_to jsonb NOT NULL DEFAULT '{}',   -- kinds, products, building_classes, devices, places, …
    ADD COLUMN valid_from timestamptz,                   -- event time; NULL = ever since
    ADD COLUMN valid_to   timestamptz,                   -- first moment it is not in force; NULL = for ever
    ADD COLUMN deleted    boolean NOT NULL DEFAULT false, -- kept for its history; the id may be used again
    ADD COLUMN note       text NOT NULL DEFAULT '';      -- why it was changed, in the words of who did

CREATE TABLE rule_version (
    rule    text NOT NULL,
    version integer NOT NULL,
    at      timestamptz NOT NULL,
    actor   text NOT NULL,
    note    text NOT NULL,
    body    jsonb NOT NULL,               -- the whole row of table rule as it was then
    PRIMARY KEY (rule, version)
);

-- Whoever writes a rule, a person in psql too, makes a version of it and wakes the servers.
CREATE FUNCTION rule_next_version() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN              -- a rule that was removed by hand goes on counting
        NEW.version := 1 + coalesce((SELECT max(version) FROM rule_version WHERE rule = NEW.id), 0);
        RETURN NEW;
    END IF;
    IF (NEW.detector, NEW.kind, NEW.enabled, NEW.settings, NEW.applies_to, NEW.valid_from, NEW.valid_to, NEW.deleted)
       IS NOT DISTINCT FROM
       (OLD.detector, OLD.kind, OLD.enabled, OLD.settings, OLD.applies_to, OLD.valid_from, OLD.valid_to, OLD.deleted)
    THEN
        RETURN NULL;                      -- nothing changes, so there is no new version
    END IF;
    NEW.version := OLD.version + 1;
    NEW.updated_at := now();
    RETURN NEW;
END $$;
CREATE TRIGGER rule_next_version BEFORE INSERT OR UPDATE ON rule FOR EACH ROW EXECUTE FUNCTION rule_next_version();

CREATE FUNCTION rule_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        PERFORM pg_notify('rule_changed', OLD.id);
        RETURN OLD;
    END IF;
    INSERT INTO rule_version VALUES (NEW.id, NEW.version, NEW.updated_at, NEW.updated_by, NEW.note, to_jsonb(NEW));
    PERFORM pg_notify('rule_changed', NEW.id);
    RETURN NEW;
END $$;
CREATE TRIGGER rule_changed AFTER INSERT OR UPDATE OR DELETE ON rule FOR EACH ROW EXECUTE FUNCTION rule_changed();

INSERT INTO rule_version
SELECT id, version, updated_at, updated_by, note, to_jsonb(rule) FROM rule;
