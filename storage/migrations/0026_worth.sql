-- What one verdict of an average annotator would tell of two responses that nobody has compared, in nats.
ALTER TABLE label_fits ADD COLUMN unjudged_worth DOUBLE;
