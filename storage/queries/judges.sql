-- What a judge's run has written: two rows a judgement, one for each order.

-- name: rows
SELECT p.*, 'j' || substr(sha256($run_id || chr(31) || p.prompt_id || chr(31) || p.response_a || chr(31) || p.response_b
                                 || chr(31) || p.criterion), 1, 16) AS judgement_id
FROM read_parquet($path, file_row_number = true) p
JOIN responses a ON a.response_id = p.response_a AND a.prompt_id = p.prompt_id
JOIN responses b ON b.response_id = p.response_b AND b.prompt_id = p.prompt_id
WHERE p.file_row_number >= $first AND p.file_row_number < $end

-- name: annotators
INSERT INTO annotators (annotator_id, name, kind)
SELECT DISTINCT 'a' || substr(sha256(annotator), 1, 16), annotator, 'ai'
FROM read_parquet($path, file_row_number = true)
WHERE file_row_number >= $first AND file_row_number < $end
ON CONFLICT DO NOTHING

-- name: judgements
INSERT INTO judgements (judgement_id, prompt_id, annotator_id, kind, criterion, source)
SELECT DISTINCT judgement_id, prompt_id, 'a' || substr(sha256(annotator), 1, 16), 'pair', criterion, $run_id
FROM ({judges.rows})
ON CONFLICT DO NOTHING

-- name: items
INSERT INTO judgement_items (judgement_id, response_id, rank, position)
SELECT DISTINCT judgement_id, response_a, if(verdict < 0, 2, 1), 0 FROM ({judges.rows})
UNION
SELECT DISTINCT judgement_id, response_b, if(verdict > 0, 2, 1), 1 FROM ({judges.rows})
ON CONFLICT DO NOTHING

-- name: answers
INSERT INTO judge_answers (judgement_id, first_id, run_id, said, share, mass, answer, tokens_in, tokens_out, cost, seconds,
                           cached)
SELECT judgement_id, first_id, $run_id, said, share, mass, answer, tokens_in, tokens_out, cost, seconds, cached
FROM ({judges.rows})
ON CONFLICT DO NOTHING
