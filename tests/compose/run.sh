#!/usr/bin/env bash
# Builds the images, starts the stack under a name and a port of its own, runs the smoke test and
# removes everything again, volumes included; a stack that is in use is not touched.
set -euo pipefail
cd "$(dirname "$0")/../.."

export COMPOSE='docker compose --project-name tunesmith-test --env-file .env.example --file docker-compose.yml'
export TUNESMITH_PORT=${TUNESMITH_PORT:-18000}

clean_up() {
    local status=$?
    [ $status = 0 ] || $COMPOSE logs --no-color --tail 30 || true
    $COMPOSE down --volumes --remove-orphans
    exit $status
}
trap clean_up EXIT
$COMPOSE build
$COMPOSE up --detach --no-build --wait --wait-timeout 300
bash tests/compose/smoke.sh
