#!/usr/bin/env bash
# Run the MONAI Deploy application on a real scan, and compare the derived series with `inferring`, voxel by voxel.
# An environment of its own is made in integrations/deploy/.venv; another one is named by VENV.
set -euo pipefail
cd "$(dirname "$0")/../.."
if [ -z "${NCE_REAL_DATA:-}" ]; then
    echo "deploy: skipped, since NCE_REAL_DATA names no folder of real scans"
    exit 0
fi
here=integrations/deploy
venv=${VENV:-$here/.venv}
if [ ! -f "$venv/.installed" ]; then
    "${PYTHON:-python3}" -m venv "$venv"
    pip=("$venv/bin/python" -m pip install --quiet --disable-pip-version-check --prefer-binary ${PIP_ARGS:-})
    "${pip[@]}" -c constraints.txt -e ".[dicom]"
    "${pip[@]}" --no-deps -r $here/requirements.txt
    touch "$venv/.installed"
fi
export OMP_NUM_THREADS=1 PYTHONPATH=$PWD
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
ulimit -s 32768 # Holoscan's least
run() {
    if ! "$@" >"$work/log" 2>&1; then
        tail -n 20 "$work/log"
        echo "deploy: failed: $*"
        exit 1
    fi
}
run "$venv/bin/python" $here/check.py series "$NCE_REAL_DATA/nect_abdomen/ct.nii.gz" "$work/series"
run timeout 300 "$venv/bin/python" $here/app.py -i "$work/series" -o "$work/out"
run timeout 300 "$venv/bin/python" -m monai.bundle run inferring --config_file bundles/nce/configs/inference.json \
    --input "$work/series" --output_dir "$work/inferred"
run "$venv/bin/python" $here/check.py compare "$work/series" "$work/out/synthetic_cect" \
    "$work/inferred/series_synthetic_cect.nii.gz"
tail -n 1 "$work/log"
echo "deploy: passed"
