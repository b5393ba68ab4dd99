-- The new column, not yet filled: no row is rewritten.
ALTER TABLE people ADD COLUMN IF NOT EXISTS full_name text;

-- Whichever release writes, both columns say the same.
CREATE OR REPLACE FUNCTION people_in_step() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        NEW.name := coalesce(NEW.name, NEW.full_name);
        NEW.full_name := coalesce(NEW.full_name, NEW.name);
    ELSIF NEW.full_name IS DISTINCT FROM OLD.full_name THEN
        NEW.name := NEW.full_name;
    ELSE
        NEW.full_name := NEW.name;
    END IF;
    RETURN NEW;
END $$;

-- From here on new rows are whole.
CREATE OR REPLACE TRIGGER people_in_step BEFORE INSERT OR UPDATE ON people
FOR EACH ROW EXECUTE FUNCTION people_in_step();

-- The rows of before. A large table wants this in pieces.
UPDATE people SET full_name = name WHERE full_name IS NULL;
