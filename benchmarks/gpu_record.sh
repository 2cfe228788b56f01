#!/usr/bin/env bash
# Everything that a GPU is needed for, within MINUTES, into one folder:
#
#     benchmarks/gpu_record.sh DIR          # or OUT=DIR benchmarks/gpu_record.sh
#
# 1. machine     what the machine is
# 2. kernels     compile them, once for all
# 3. tests       those that need a GPU
# 4. benchmarks  python -m benchmarks
# 5. training    of the default task for the time that is left, its curves, and both policies evaluated
# 6. profile     of training iterations
#
# Each stage has a log and a time limit of its own; one that fails does not stop the next. summary.txt has their exit
# codes and seconds. Checkpoints stay in logs/gpu_record. The exit code is 0 if every stage succeeded, otherwise 1.
#
# Environment:  PYTHON   interpreter that has the packages (default: python3)
#               MINUTES  for everything (default: 9)
#               DEVICE   cuda, cuda:N or cpu (default: cuda)
#               QUICK=1  every stage, but small
#               PACK=1   leave summary.txt and results.tar.gz only
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

PYTHON=${PYTHON:-python3}
MINUTES=${MINUTES:-9}
DEVICE=${DEVICE:-cuda}
QUICK=${QUICK:-}
DIR=${1:-${OUT:-}}
if [[ -z $DIR ]]; then
    echo "error: where to? usage: benchmarks/gpu_record.sh DIR" >&2
    exit 2
fi
if ! [[ $MINUTES =~ ^[1-9][0-9]*$ ]]; then
    echo "error: MINUTES=$MINUTES; allowed: a whole number of 1 or more" >&2
    exit 2
fi
mkdir -p "$DIR" || exit 2
DIR=$(cd "$DIR" && pwd)
SUMMARY=$DIR/summary.txt
SECONDS=0
END=$((60 * MINUTES))
FAILED=0
export PYTHONUNBUFFERED=1

# Seconds that the stages may take at most, and that must be left when the training is told to stop.
LIMIT_KERNELS=120 LIMIT_TESTS=90 LIMIT_BENCHMARKS=130 LIMIT_SAVE=30 LIMIT_PLAY=40 LIMIT_PROFILE=60
AFTER_TRAINING=$((LIMIT_SAVE + LIMIT_PLAY + LIMIT_PROFILE))
if [[ -n $QUICK ]]; then
    SIZES=32,64 BENCHMARK_ARGS=(--quick) PROFILE_ENVS=32 TRAINING_S=60 PLAY_ENVS=8
    TRAIN_ARGS=(--num_envs=32 terrain.levels=2 distill.start=1 distill.interval=2 distill.steps_per_env=8)
else
    SIZES=4096,1024,8192 BENCHMARK_ARGS=() PROFILE_ENVS=4096 TRAINING_S=$END PLAY_ENVS=640
    TRAIN_ARGS=()
fi
TEST_ARGS=(-m gpu)
if [[ $DEVICE == cpu ]]; then
    TEST_ARGS=(-m "gpu or not slow" tests/device/test_gpu.py tests/test_benchmarks.py)
fi

note() { # NAME CODE SECONDS
    printf '%-16s exit %3s  %4s s\n' "$1" "$2" "$3" | tee -a "$SUMMARY"
    [[ $2 == 0 ]] || FAILED=1
}

stage() { # NAME LIMIT COMMAND...: run it, its output in NAME.log
    local name=$1 limit=$2 left=$((END - SECONDS)) start=$SECONDS code=0
    shift 2
    ((limit > left)) && limit=$left
    if ((limit < 1)); then
        note "$name" skipped 0
        return 1
    fi
    timeout --kill-after=5 "$limit" "$@" >"$DIR/$name.log" 2>&1 </dev/null || code=$?
    note "$name" $code $((SECONDS - start))
    return $code
}

machine() {
    date -u
    nvidia-smi || echo "no nvidia-smi"
    echo "cores $(nproc), load $(cut -d' ' -f1-3 /proc/loadavg), $(free -g | sed -n 2p)"
    git rev-parse HEAD 2>/dev/null || echo "no git repository"
    "$PYTHON" - <<'PY'
import platform
from importlib import metadata

import torch

print("python", platform.python_version())
for package in ("torch", "mujoco", "mujoco-warp", "warp-lang", "rsl-rl-lib", "numba", "numpy", "tensordict"):
    try:
        print(package, metadata.version(package))
    except metadata.PackageNotFoundError:
        print(package, "is missing")
print("CUDA", torch.version.cuda, [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())])
PY
}

train() { # in a session of its own; told to stop, it saves
    local start=$SECONDS stop=$((END - AFTER_TRAINING)) code=0
    ((stop > SECONDS + TRAINING_S)) && stop=$((SECONDS + TRAINING_S))
    if ((stop <= SECONDS)); then
        note training skipped 0
        return 1
    fi
    setsid "$PYTHON" train.py --task=parkour_depth --experiment_name=gpu_record --sim_device="$DEVICE" --headless \
        --max_iterations=1000000 runner.keep_checkpoints=1 "${TRAIN_ARGS[@]}" >"$DIR/training.log" 2>&1 </dev/null &
    local pid=$!
    while kill -0 $pid 2>/dev/null && ((SECONDS < stop)); do sleep 1; done
    kill -TERM $pid 2>/dev/null
    (sleep $LIMIT_SAVE && kill -KILL $pid) >/dev/null 2>&1 &
    local killer=$!
    wait $pid || code=$?
    kill $killer 2>/dev/null
    note training $code $((SECONDS - start))
}

evaluate() { # what the run left
    local run policy pids=()
    [[ -f $DIR/training.log ]] || return
    run=$(sed -n 's/^run folder *//p' "$DIR/training.log")
    [[ -d $run ]] || return
    mkdir -p "$DIR/training"
    cp "$run"/config.yaml "$run"/events* "$DIR/training/"
    stage curves $LIMIT_PLAY "$PYTHON" -m legged_gym_ext.runs.plot --load_run "$run" --output "$DIR/training/curves.png" &
    pids+=($!)
    for policy in teacher student; do
        stage play_$policy $LIMIT_PLAY "$PYTHON" play.py --load_run "$run" --policy $policy --headless \
            --sim_device="$DEVICE" --num_envs=$PLAY_ENVS &
        pids+=($!)
    done
    for pid in "${pids[@]}"; do wait "$pid" || FAILED=1; done
}

: >"$SUMMARY"
stage machine 30 bash -c "$(declare -f machine); PYTHON='$PYTHON' machine"
stage kernels $LIMIT_KERNELS "$PYTHON" -m benchmarks --device "$DEVICE" --num_envs 16 --quick --only environment
stage tests $LIMIT_TESTS "$PYTHON" -m pytest -p no:cacheprovider "${TEST_ARGS[@]}"
stage benchmarks $LIMIT_BENCHMARKS "$PYTHON" -m benchmarks --device "$DEVICE" --num_envs $SIZES "${BENCHMARK_ARGS[@]}" \
    --time_limit $((LIMIT_BENCHMARKS - 15)) --out "$DIR/benchmarks"
train
evaluate
stage profile $LIMIT_PROFILE "$PYTHON" -m benchmarks --device "$DEVICE" --num_envs $PROFILE_ENVS --only profile
note everything $FAILED $SECONDS
if [[ -n ${PACK:-} ]]; then
    tar -C "$DIR" -czf "$DIR.tar.gz.tmp" --exclude=results.tar.gz . &&
        find "$DIR" -mindepth 1 ! -name summary.txt -delete && mv "$DIR.tar.gz.tmp" "$DIR/results.tar.gz"
fi
exit $FAILED
