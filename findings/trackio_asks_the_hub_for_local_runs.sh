#!/usr/bin/env bash
# "trackio.init without space_id logs locally": it does, but where a Hugging Face token is on the machine it first
# sends that token to the Hub (GET /api/whoami-v2) and stores the account's name in the config of the local run. The
# answer of a Hub that is slow is waited for, so a training on a cluster without a way out starts late.
#
# Seen with trackio 0.43.0, huggingface_hub 2.4.0, Python 3.11; a Hub on loopback that answers after two seconds;
# expected no request, no name, and no wait
#   requests ['GET /api/whoami-v2 Bearer hf_local'], name of the run's user: someone, waited 2 s: True
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --no-compile --disable-pip-version-check \
  trackio==0.43.0 huggingface_hub==2.4.0 pillow==12.3.0 numpy==2.4.6
export TRACKIO_DIR="$folder/runs" HF_HOME="$folder/hf" HF_TOKEN=hf_local
timeout 120 "$folder/venv/bin/python" - 2>"$folder/stderr" <<'PY' || { tail -n 20 "$folder/stderr" >&2; exit 1; }
import json
import os
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer

SLOW = 2.0
asked = []


class Hub(BaseHTTPRequestHandler):
    def do_GET(self):
        if token := self.headers.get("authorization"):
            asked.append(f"GET {self.path} {token}")
        time.sleep(SLOW)
        body = json.dumps({"name": "someone", "type": "user", "auth": {}}).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


hub = HTTPServer(("127.0.0.1", 0), Hub)
threading.Thread(target=hub.serve_forever, daemon=True).start()
os.environ["HF_ENDPOINT"] = f"http://127.0.0.1:{hub.server_port}"

import trackio

stdout, sys.stdout = sys.stdout, sys.stderr
began = time.monotonic()
run = trackio.init("local", name="a", embed=False, auto_log_cpu=False, auto_log_gpu=False)
waited = time.monotonic() - began >= SLOW
run.log({"loss": 1.0})
run.finish()
sys.stdout = stdout
name = run.config["_Username"]
print(f"requests {asked}, name of the run's user: {name}, waited 2 s: {waited}")
if asked != ["GET /api/whoami-v2 Bearer hf_local"] or name != "someone" or not waited:
    sys.exit("trackio no longer behaves as described")
PY
