-- How far has everybody come with the projects, and when will they be done?
SELECT project, annotator, entries, done, done / entries AS share, seconds_each, seconds_left / 3600 AS hours_left
FROM project_progress
ORDER BY project, share;
