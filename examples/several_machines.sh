#!/usr/bin/env bash
# Distil on several machines: the same command on each of them.
#
#   FIRST=node0 MACHINES=2 GPUS=4 bash several_machines.sh --data data.yaml --teacher-weights teacher.pt
#   FIRST=node0 MACHINES=2 GPUS=4 bash several_machines.sh --resume runs/distilled
#
# FIRST is the name or address of one of them, which the others can reach on PORT. All see the data, the
# teacher and the folder `runs` under the same paths, as on a shared disk. --batch-size counts the images of all
# processes together, so that the run is the same as on one machine.
set -euo pipefail
exec torchrun --nnodes "${MACHINES:-1}" --nproc-per-node "${GPUS:-1}" \
  --rdzv-backend c10d --rdzv-endpoint "${FIRST:-localhost}:${PORT:-29500}" \
  -m tutelage train "$@"
