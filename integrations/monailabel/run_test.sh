#!/usr/bin/env bash
# Start MONAI Label with the app of this folder and with its own for bundles, ask both for a real scan and the first for a
# training over HTTP, and compare with `inferring`, voxel by voxel.
# An environment of its own is made in integrations/monailabel/.venv; another one is named by VENV.
set -euo pipefail
cd "$(dirname "$0")/../.."
if [ -z "${NCE_REAL_DATA:-}" ]; then
    echo "monailabel: skipped, since NCE_REAL_DATA names no folder of real scans"
    exit 0
fi
here=integrations/monailabel
venv=$(realpath -m "${VENV:-$here/.venv}")
work=$(mktemp -d)
server=
stop() {
    [ -n "$server" ] || return 0
    kill -- "-$server" 2>/dev/null || true
    timeout 20 tail --pid="$server" -f /dev/null || kill -9 -- "-$server" 2>/dev/null || true
    server=
}
trap 'stop; rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
if [ ! -f "$venv/.installed" ]; then
    "${PYTHON:-python3}" -m venv "$venv"
    pip=("$venv/bin/python" -m pip install --quiet --disable-pip-version-check --prefer-binary ${PIP_ARGS:-})
    # MONAI Label asks for older ones of these
    grep -viE '^(pydicom|pynetdicom|dicomweb-client)==' constraints.txt >"$venv/constraints.txt"
    "${pip[@]}" -c "$venv/constraints.txt" -r $here/requirements.txt -e .
    "${pip[@]}" --no-deps monailabel==0.8.5 pydicom-seg==0.4.1
    touch "$venv/.installed"
fi
export OMP_NUM_THREADS=1 PYTHONPATH=$PWD
python=$venv/bin/python
scan=$NCE_REAL_DATA/nect_abdomen/ct.nii.gz
port=${PORT:-18000}

run() {
    if ! "$@" >"$work/log" 2>"$work/errors"; then
        cat "$work/log"
        tail -n 5 "$work/errors"
        [ ! -f "$work/server" ] || tail -n 10 "$work/server"
        echo "monailabel: failed: $*"
        exit 1
    fi
    grep -v '^\[' "$work/log" || true
}
infer() { # FOLDER [WEIGHTS]
    timeout 300 "$python" -m monai.bundle run inferring --config_file bundles/nce/configs/inference.json \
        --input "$scan" --output_dir "$1" --backend torch --precision fp32 ${2:+--checkpoint "$2"} >"$work/inferring" 2>&1 ||
        { tail -n 5 "$work/inferring"; echo "monailabel: failed: inferring"; exit 1; }
}
start() { # APP CONF…: in a process group of its own, so that trainings end with it
    setsid "$python" -m monailabel.main start_server --app "$1" --studies "$work/studies" --host 127.0.0.1 --port "$port" \
        "${@:2}" >"$work/server" 2>&1 &
    server=$!
}

mkdir "$work/studies"
cp "$scan" "$work/studies/ct.nii.gz"
infer "$work/inferred"
inferred=$work/inferred/ct_synthetic_cect.nii.gz

mkdir "$work/app" # MONAI Label writes logs into an app's folder
cp -r $here/main.py $here/lib "$work/app"
start "$work/app" --conf output_dir "$work/out"
run "$python" $here/check.py app --url "http://127.0.0.1:$port" --inferred "$inferred" --data "$work/data" --out "$work/out"
stop
infer "$work/inferred_trained" "$work/out/model.pt"
run "$python" $here/check.py trained --inferred "$work/inferred_trained/ct_synthetic_cect.nii.gz" --out "$work/out"

if "$python" -c "import torchvision" 2>/dev/null; then
    "$python" -m monailabel.main apps --download --name monaibundle --output "$work" >/dev/null 2>&1
    mkdir -p "$work/monaibundle/model"
    cp -r bundles/nce "$work/monaibundle/model/nce"
    sed -i 's/"backend": "auto"/"backend": "torch"/; s/"precision": "auto"/"precision": "fp32"/' \
        "$work/monaibundle/model/nce/configs/inference.json"
    start "$work/monaibundle" --conf models nce --conf zoo_source ngc --conf sam2 false --conf skip_trainers true
    run "$python" $here/check.py stock --url "http://127.0.0.1:$port" --inferred "$inferred"
    stop
else
    echo "MONAI Label's monaibundle: skipped, since torchvision cannot be imported"
fi
echo "monailabel: passed"
