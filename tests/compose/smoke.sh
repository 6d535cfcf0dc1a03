#!/usr/bin/env bash
# The main job over HTTP alone, on the stack that `docker compose up --wait` has started:
# dataset -> learning rate -> fine-tune -> samples. Ends with 0 only if all of it is right.
#
#   tests/compose/smoke.sh                    photos that the service draws
#   SMOKE_PHOTOS=/data/pets tests/compose/smoke.sh    photos mounted into the containers
#
# COMPOSE           how compose is called (default: docker compose)
# TUNESMITH_KEY     the key (default: the one that `migrate` printed)
# SMOKE_PATTERN     what labels the photos (default: ^(.+)_\d+\.jpg$)
# Needs curl and python3 (the standard library alone).
set -euo pipefail

COMPOSE=${COMPOSE:-docker compose}
SMOKE_PATTERN=${SMOKE_PATTERN:-'^(.+)_\d+\.jpg$'}
JOB_WITHIN_S=${SMOKE_JOB_WITHIN_S:-400}
AWAY_WITHIN_S=60

say() { printf '%s %s\n' "$(date +%T)" "$*"; }
fail() {
    printf 'SMOKE FAILED: %s\n' "$*" >&2
    exit 1
}

# value EXPRESSION <JSON: the expression over the document `it`; none is printed as nothing
value() {
    python3 -c 'import json, sys
it = json.load(sys.stdin)
found = eval(sys.argv[1])
print("" if found is None else found)' "$1"
}

# status URL [curl's arguments]: the status of an answer, 000 where there is none
status() { curl --silent --output /dev/null --max-time 20 --write-out '%{http_code}' "$@" || true; }

# with_key METHOD PATH [BODY]: the answer's body; anything but success ends the test
with_key() {
    local method=$1 path=$2 answer
    answer=$(printf 'header = "Authorization: Bearer %s"\n' "$KEY" | curl --config - --silent \
        --show-error --max-time 30 --request "$method" ${3+--header "Content-Type: application/json" --data "$3"} \
        --write-out '\n%{http_code}' "$URL$path") || fail "$method $path: no answer"
    case ${answer##*$'\n'} in
        2??) printf '%s' "${answer%$'\n'*}" ;;
        *) fail "$method $path: $answer" ;;
    esac
}

# with_patience PATH: the answer to a GET, as soon as there is one again
with_patience() {
    local until_s=$((SECONDS + AWAY_WITHIN_S))
    while [ $SECONDS -lt $until_s ]; do
        (with_key GET "$1" 2>/dev/null) && return
        sleep 1
    done
    fail "GET $1: no good answer within $AWAY_WITHIN_S s"
}

trains() { # JOB: waits until its first steps are told
    local until_s=$((SECONDS + JOB_WITHIN_S))
    while [ $SECONDS -lt $until_s ]; do
        [ -n "$(with_key GET "/v1/jobs/$1" | value '(it["progress"] or {}).get("step")')" ] && return
        sleep 0.5
    done
    fail "job $1 takes no step within $JOB_WITHIN_S s"
}

finished() { # JOB: waits until it has succeeded
    local job state until_s=$((SECONDS + JOB_WITHIN_S))
    while [ $SECONDS -lt $until_s ]; do
        job=$(with_patience "/v1/jobs/$1")
        state=$(value 'it["state"]' <<<"$job")
        case $state in
            succeeded) say "$(value 'it["type"]' <<<"$job") $1 succeeded" && return ;;
            failed | cancelled) fail "job $1 $state: $(value 'it["error"]' <<<"$job")" ;;
        esac
        sleep 1
    done
    fail "job $1 is still $state after $JOB_WITHIN_S s"
}

# ---- where, and with which key --------------------------------------------------------------------
URL=http://$($COMPOSE port api 8000) || fail "the api publishes no port; is the stack up?"
# -1: the first time is the only time that a key is printed
KEY=${TUNESMITH_KEY:-$($COMPOSE logs --no-color --no-log-prefix migrate | grep -oE 'tsk_[A-Za-z0-9_-]{43}' | head -1 || true)}
[ -n "$KEY" ] || fail "migrate printed no key; give one in TUNESMITH_KEY"
for _ in $(seq 30); do
    [ "$(status "$URL/readyz")" = 200 ] && break
    sleep 1
done
[ "$(status "$URL/readyz")" = 200 ] || fail "$URL/readyz does not say 200"
say "$URL is ready: $(curl --silent --max-time 20 "$URL/readyz")"

# ---- nothing without the key ----------------------------------------------------------------------
for path in /v1/jobs /v1/datasets /v1/models /v1/jobs/job_01m858kwdfesp9hrjhwfagpqs8; do
    [ "$(status "$URL$path")" = 401 ] || fail "GET $path without a key: $(status "$URL$path"), not 401"
    wrong=$(status "$URL$path" --header "Authorization: Bearer tsk_$(printf 'A%.0s' {1..43})")
    [ "$wrong" = 401 ] || fail "GET $path with a wrong key: $wrong, not 401"
done
for path in /v1/datasets /v1/lr-finds /v1/fine-tunes; do
    refused=$(status "$URL$path" --header 'Content-Type: application/json' --data '{}')
    [ "$refused" = 401 ] || fail "POST $path without a key: $refused, not 401"
done
say "without the key everything is refused"

# ---- dataset -> learning rate -> fine-tune --------------------------------------------------------
if [ -n "${SMOKE_PHOTOS:-}" ]; then
    source='{"type": "path", "path": "'$SMOKE_PHOTOS'"}'
else
    source='{"type": "sample"}'
fi
pattern=$(python3 -c 'import json, sys; print(json.dumps(sys.argv[1]))' "$SMOKE_PATTERN")
dataset=$(with_key POST /v1/datasets '{"name": "smoke", "source": '"$source"',
    "labels": {"rule": "regex", "pattern": '"$pattern"'},
    "split": {"rule": "random", "valid_fraction": 0.2, "seed": 42}}')
dataset_id=$(value 'it["id"]' <<<"$dataset")
finished "$(value 'it["job_id"]' <<<"$dataset")"
valid=$(with_key GET "/v1/datasets/$dataset_id" | value 'it["counts"]["valid"]')
say "dataset $dataset_id has $valid photos for validation"

training='"dataset": "'$dataset_id'", "architecture": "resnet18", "weights": "none",
    "size": 64, "presize": 96, "batch_size": 16'
lr_find_id=$(with_key POST /v1/lr-finds "{$training, \"sweep\": \"all\", \"start_lr\": 1e-5,
    \"end_lr\": 1, \"num_steps\": 60}" | value 'it["id"]')
finished "$lr_find_id"
lr=$(with_key GET "/v1/jobs/$lr_find_id/lr-curve" | value '(it["recommended"] or {}).get("lr")')
# so short a range test may find no rate that it can recommend
[ -n "$lr" ] && rate='{"from_job": "'$lr_find_id'", "rule": "recommended"}' || rate=0.002
say "recommended learning rate: ${lr:-none, going on with $rate}"

fine_tune_id=$(with_key POST /v1/fine-tunes "{$training, \"epochs\": 3, \"freeze_epochs\": 0,
    \"discriminative\": \"off\", \"learning_rate\": $rate}" | value 'it["id"]')
finished "$fine_tune_id"
job=$(with_key GET "/v1/jobs/$fine_tune_id")
model_id=$(value 'it["model_id"]' <<<"$job")
[ -n "$model_id" ] || fail "job $fine_tune_id left no model"

# ---- every row averages to the reported loss ------------------------------------------------------
reported=$(value 'it["latest"]["valid_loss"]' <<<"$job")
cursor='' rows=$(mktemp)
trap 'rm -f "$rows"' EXIT
while :; do
    page=$(with_key GET "/v1/jobs/$fine_tune_id/samples?limit=50${cursor:+&after=$cursor}")
    value '"\n".join(repr(row["loss"]) for row in it["data"])' <<<"$page" >>"$rows"
    [ "$(value 'it["has_more"]' <<<"$page")" = True ] || break
    cursor=$(value 'it["next_cursor"]' <<<"$page")
done
python3 - "$rows" "$valid" "$reported" <<'PYTHON' || fail "the samples do not average to the loss"
import math
import sys

losses = [float(line) for line in open(sys.argv[1])]
count, reported = int(sys.argv[2]), float(sys.argv[3])
mean = math.fsum(losses) / max(len(losses), 1)
print(f"{len(losses)} rows of {count}, mean loss {mean:.6f}, reported {reported:.6f}")
sys.exit(len(losses) != count or not math.isclose(mean, reported, rel_tol=1e-4))
PYTHON
say "fine-tune $fine_tune_id made model $model_id"

# ---- a training outlives the database, the doorbell and its worker --------------------------------
long="{$training, \"epochs\": 12, \"freeze_epochs\": 0, \"learning_rate\": 0.002}"
outlives_id=$(with_key POST /v1/fine-tunes "$long" | value 'it["id"]')
trains "$outlives_id"
$COMPOSE restart postgres redis
say "postgres and redis were started again in the middle of $outlives_id"
finished "$outlives_id"
attempts=$(with_key GET "/v1/jobs/$outlives_id" | value 'it["attempt"]')
say "it took $attempts attempt(s)"

drained_id=$(with_key POST /v1/fine-tunes "$long" | value 'it["id"]')
trains "$drained_id"
$COMPOSE stop worker-train
state=$(with_key GET "/v1/jobs/$drained_id" | value 'it["state"]')
[ "$state" = queued ] || fail "the worker was stopped, and its job is $state, not queued"
$COMPOSE start worker-train
finished "$drained_id"
[ "$(with_key GET "/v1/jobs/$drained_id" | value 'it["attempt"]')" = 1 ] ||
    fail "a job that was drained counts as a second attempt"
say "a stopped worker gave its job back, and the job went on"
echo "SMOKE PASSED"
