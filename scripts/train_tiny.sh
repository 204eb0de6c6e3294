#!/usr/bin/env bash
# Preset tiny from nothing: CoopSynth, the trunk of both agents, each agent by itself, their cooperation.
# Goes on where it was interrupted. DATA: folder of the dataset; RUNS: folder of the runs; EVERY: every n-th sequence
# of the benchmark (1: all); OUT: folder of the weights; STEPS: of every stage, to try whether all goes through.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
data=${DATA:-coopsynth} runs=${RUNS:-runs/tiny} every=${EVERY:-1}
cooptrack() { python -m cooptrack_core.cli "$@"; }
stage() { cooptrack train "$@" --data "$data" ${STEPS:+--steps "$STEPS"}; }

cooptrack synthesize "$data" --benchmark --every "$every"
stage pretrain --preset tiny_inf --out "$runs/pretrain" --keep-every 500 --evaluate-every 1000
# Two agents with a thread each are faster than one after the other with two.
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
agent() {
  stage tracking --preset "tiny_$1" --out "$runs/tracking_$1" --init "$runs/pretrain" \
    --keep-every 200 --evaluate-every 800
}
agent inf & inf=$!
agent veh & veh=$!
wait $inf && wait $veh
stage cooperation --preset tiny_coop --out "$runs/cooperation" --init "$runs/tracking_veh" \
  --roadside "$runs/tracking_inf" --keep-every 300 --evaluate-every 600
# After a few STEPS nothing is seen yet that codebook and flow could be fitted to: the weights are packed without them.
fit() { cooptrack "fit-$1" "$data" --weights "$runs/tracking_inf/weights/tiny_inf.safetensors" \
  --output "$runs/$1.safetensors" --overwrite "${fitted[@]}" || { [ -n "${STEPS:-}" ] && return; exit 1; }
  fitted+=("--$1" "$runs/$1.safetensors"); }
fitted=()
fit codebook
fit flow # reads features as vehicles have them: out of the codebook
mkdir -p "${OUT:-$runs/weights}"
python scripts/pack_weights.py "$runs/tracking_inf" "$runs/tracking_veh" "$runs/cooperation" \
  "${fitted[@]}" --out "${OUT:-$runs/weights}"
