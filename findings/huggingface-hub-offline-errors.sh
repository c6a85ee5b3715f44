#!/usr/bin/env bash
# huggingface_hub: without a network, calls raise their transport's error, not one of the hub's own.
#
# Guess: whoever catches OSError and huggingface_hub's own errors (HfHubHTTPError, OfflineModeIsEnabled,
# LocalEntryNotFoundError) has caught a hub that cannot be reached, and repo_exists says False or
# raises one of them.
# Seen with huggingface_hub 2.4.0: create_repo, repo_exists and model_info raise httpx2.ConnectError,
# which derives from Exception alone: it is no OSError and no requests or httpx error, and httpx2 is
# not a package that the caller chose. hf_hub_download raises LocalEntryNotFoundError, an OSError.
# Matters where a push follows hours of training: the handler that was written for downloads lets it
# through.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --target "$folder" huggingface_hub==2.4.0
# Nothing listens at port 9 of this machine: a connection is refused at once.
HF_ENDPOINT=http://127.0.0.1:9 HF_HUB_DISABLE_TELEMETRY=1 HF_HOME="$folder/home" \
    PYTHONPATH="$folder" python3 - <<'PY'
import sys

import huggingface_hub
from huggingface_hub import HfApi, errors

own = tuple(
    kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, Exception) and "huggingface" in kind.__module__
)
api = HfApi(token=False)
calls = {
    "create_repo": lambda: api.create_repo("me/model"),
    "repo_exists": lambda: api.repo_exists("me/model"),
    "model_info": lambda: api.model_info("me/model"),
}
print("huggingface_hub", huggingface_hub.__version__)
seen = []
for name, call in calls.items():
    try:
        print(f"{name}: {call()}")
        seen.append(False)
    except Exception as error:
        kind = type(error)
        print(
            f"{name}: {kind.__module__}.{kind.__name__}, OSError: {isinstance(error, OSError)}, "
            f"one of the hub's own: {isinstance(error, own)}"
        )
        seen.append(not isinstance(error, (OSError, *own)))
sys.exit(0 if all(seen) else 1)
PY
