-- How fast does each annotator judge, and does it change over the day?
SELECT annotator, date_trunc('hour', created_at) AS hour_utc, count(*) AS judgements, median(seconds) AS median_seconds
FROM current_judgements
WHERE annotator_kind = 'human'
GROUP BY ALL
ORDER BY annotator, hour_utc;
