#!/usr/bin/env bash
# Train all stages over two sites in NVFlare's simulator, and check the mean of their weights and inference with it.
# An environment of its own is made in integrations/nvflare/.venv; another one is named by VENV.
set -euo pipefail
cd "$(dirname "$0")/../.."
if [ -z "${NCE_REAL_DATA:-}" ]; then
    echo "nvflare: skipped, since NCE_REAL_DATA names no folder of real scans"
    exit 0
fi
here=integrations/nvflare
venv=${VENV:-$here/.venv}
if [ ! -f "$venv/.installed" ]; then
    "${PYTHON:-python3}" -m venv "$venv"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --prefer-binary ${PIP_ARGS:-} \
        -c constraints.txt -r $here/requirements.txt -e .
    touch "$venv/.installed"
fi
export OMP_NUM_THREADS=1 PYTHONPATH=$PWD
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$venv/bin/python" $here/check.py data "$work"
if ! "$venv/bin/python" $here/job.py --data "$work/data/site-1" "$work/data/site-2" --size 64 --rounds 1 2 2 \
    -o "$work/federated" --set "batch_size=2" "network_def#channels=[8, 8]" "network_def#hidden_channels=8" \
    "discriminator_def#channels=[8, 8]" "domain_classifier_def#channels=[4, 4, 8, 8, 8]" >"$work/log" 2>&1; then
    tail -n 30 "$work/log"
    echo "nvflare: failed, the simulation above did not end with weights of every stage"
    exit 1
fi
"$venv/bin/python" $here/check.py result "$work" --scan "$NCE_REAL_DATA/nect_abdomen/ct.nii.gz" 2>"$work/errors" ||
    { tail -n 5 "$work/errors"; echo "nvflare: failed"; exit 1; }
echo "nvflare: passed"
