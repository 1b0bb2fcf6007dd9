"""A program that goes wrong in the way that it is asked to."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

mode = sys.argv[1]
output = Path(os.environ["PROXYFLOW_OUTPUT"])


def report(epoch: int, name: str = "valid_loss", value: float = 0.5) -> None:
    with (output / "metrics.jsonl").open("a") as file:
        file.write(json.dumps({"epoch": epoch, name: value}) + "\n")


SLEEPER = [sys.executable, "-c", "import time; time.sleep(600)", *sys.argv[2:]]
if mode == "good":
    report(1)
elif mode == "hangs":
    report(1)
    print("waiting for a lock", flush=True)
    time.sleep(600)
elif mode == "hangs-deaf":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    subprocess.Popen(SLEEPER)
    time.sleep(600)
elif mode == "killed":
    os.kill(os.getpid(), signal.SIGKILL)
elif mode == "prints":
    for number in range(200_000):
        print(f"step {number:09d} of a program that says everything it does")
    report(1)
    print("the end")
elif mode == "half-line":
    report(1)
    with (output / "metrics.jsonl").open("a") as file:
        file.write('{"epoch": 2, "valid_lo')
elif mode == "nan":
    report(1)
    report(2, value=float("nan"))
elif mode == "nothing":
    print("done")
elif mode == "other-name":
    report(1, "val_loss")
elif mode == "exit-3":
    report(1)
    print("cannot find the tokenizer", file=sys.stderr)
    sys.exit(3)
elif mode == "child":
    report(1)
    subprocess.Popen(SLEEPER)
elif mode == "daemon":
    report(1)
    subprocess.Popen(SLEEPER, start_new_session=True)
elif mode == "dependency":
    import no_such_package  # noqa: F401
else:
    raise AssertionError(mode)
