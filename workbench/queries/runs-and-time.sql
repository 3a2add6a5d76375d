-- Where did the machine's time go, and what failed?
SELECT kind, status, count(*) AS runs, sum(seconds) / 3600 AS hours, any_value(reason) AS a_reason
FROM run_summary
GROUP BY ALL
ORDER BY hours DESC NULLS LAST;
