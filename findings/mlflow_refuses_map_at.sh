#!/usr/bin/env bash
# The field's own name of its metric, mAP@0.5, is no name of a metric for MLflow: @, brackets and parentheses raise, so
# that "mAP@[.5:.95]" and a class called "car (parked)" end a training run at its first evaluation. In log_metrics one
# such name loses the whole call: the good metrics beside it are not logged either. TensorBoard takes all of them, which
# is why a logger that writes to both has worked until then. An infinite loss is stored as 1.797e+308, as if it were a
# number, while nan stays nan.
#
# Seen with mlflow 3.17.2 with its SQLite store, tensorboardX 2.6.5, Python 3.11:
#   mAP@0.5 refused, mAP@[.5:.95] refused, AP/car (parked) refused, AP/car parked logged; TensorBoard takes all four
#   log_metrics({"loss": 1, "mAP@0.5": 0.4}) leaves no loss; inf is stored as 1.7976931348623157e+308, nan as nan
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --no-compile --disable-pip-version-check mlflow==3.17.2 tensorboardX==2.6.5
cd "$folder"
"$folder/venv/bin/python" - "$folder" 2>"$folder/stderr" <<'PY' || { tail -n 20 "$folder/stderr" >&2; exit 1; }
import math
import sys

import mlflow
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient
from tensorboardX import SummaryWriter

NAMES = ("mAP@0.5", "mAP@[.5:.95]", "AP/car (parked)", "AP/car parked")


def accepts(log):
    try:
        log()
    except MlflowException:
        return False
    return True


mlflow.set_tracking_uri(f"sqlite:///{sys.argv[1]}/runs.db")
with mlflow.start_run() as run, SummaryWriter(f"{sys.argv[1]}/tensorboard") as board:
    takes = {name: accepts(lambda name=name: mlflow.log_metric(name, 0.4)) for name in NAMES}
    for name in NAMES:
        board.add_scalar(name, 0.4)
    together = accepts(lambda: mlflow.log_metrics({"loss": 1.0, "mAP@0.5": 0.4}))
    mlflow.log_metric("infinite", math.inf)
    mlflow.log_metric("undefined", math.nan)
stored = MlflowClient().get_run(run.info.run_id).data.metrics
for name, found in takes.items():
    print(f"{name:16} {'logged' if found else 'refused'}")
print("loss beside mAP@0.5 is stored:", "loss" in stored)
print("inf is stored as", stored["infinite"], "and nan as", stored["undefined"])
expected = [False, False, False, True]
same = [*takes.values()] == expected and not together and "loss" not in stored
same = same and math.isfinite(stored["infinite"]) and math.isnan(stored["undefined"])
sys.exit(not same)
PY
