#!/usr/bin/env bash
# The interface of the deploy script this replaces: `scripts/deploy.sh IMAGE`, with the same variables
# (STAGES, STAGE_HOLD_S, ERROR_RATE_REGRESSION, P99_REGRESSION, WARMUP_S, MIN_REQUESTS, GATEWAY_NAMESPACE,
# BASELINE_REVISION, PROM_BASE), which rollouts/inference_gateway/rollout.yaml reads in its production target, and
# GUARD_IMAGE, where nodes pull from a mirror.  What must be there: docs/kubernetes.md.
#   scripts/deploy.sh IMAGE --canary-set decide=threshold   decides as the old script did, by comparing two numbers;
#       with `--canary-set gates.error_rate.catastrophe=false` (and client_error_rate) nothing stops a build earlier
#   TARGET=local scripts/deploy.sh inference-gateway:v2     rehearses on this machine
set -euo pipefail
cd "$(dirname "$0")/.."
if [ $# -lt 1 ] || [[ $1 == -* ]]; then
    echo "usage: [TARGET=production] $0 IMAGE [pytest options]; found ${1:-no IMAGE}, expected an image such as inference-gateway:v2" >&2
    exit 4
fi
image=$1
shift
pytest=.venv/bin/pytest
if [ ! -x "$pytest" ] && ! pytest=$(command -v pytest); then
    echo "$0: found no pytest here or on PATH; type: python3 -m venv .venv && .venv/bin/pip install -e '.[local]'" >&2
    exit 4
fi
# exec, so that a cancelled CI job reaches pytest itself and the canary is rolled back.
exec "$pytest" rollouts/inference_gateway --image="$image" --canary-target="${TARGET:-production}" \
    --junitxml=rollout.xml "$@"
