-- name: list
SELECT artifact_id, run_id, kind, name, parent_id, path, step, details, created_at
FROM artifacts
WHERE ($run_id IS NULL OR run_id = $run_id) AND ($kind IS NULL OR kind = $kind) AND ($name IS NULL OR name = $name)
ORDER BY created_at DESC, step DESC NULLS LAST, artifact_id

-- name: made_by
SELECT kind FROM runs WHERE run_id = $run_id

-- name: add
INSERT OR REPLACE INTO artifacts (artifact_id, run_id, kind, name, parent_id, path, step, details)
VALUES ($artifact_id, $run_id, $kind, $name, $parent_id, $path, $step, $details)

-- name: reward_models
SELECT reward_model_id, name, folder, run_id, onnx_folder, precisions, accuracy, log_loss, created_at
FROM reward_models
WHERE $name IS NULL OR name = $name
ORDER BY created_at, name
