"""The containers of deploy/ do what the page's plain commands do, which are those that are tested: held equal here."""

from __future__ import annotations

import json
import re
import runpy
import shlex
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from benchmarks.team import blocks

DEPLOY = Path(__file__).parents[2] / "deploy"
VARIABLE = re.compile(r"\$\{?([A-Z][A-Z0-9_]*)(:[-?][^}]*)?\}?")
# In a container a program is reached by its name, and by nobody from outside unless its port is published.
WHERE = {
    "$DATA/s3.json": "/etc/seaweedfs/s3.json",
    "$DATA/s3": "/data",
    "$DATA/accounts.ini": "/etc/mlflow/accounts.ini",
    "@127.0.0.1:$PG_PORT": "@postgres:5432",
    "-ip.bind=127.0.0.1": "-ip.bind=0.0.0.0",
    "--host=127.0.0.1": "--host=0.0.0.0",
    "http://127.0.0.1:$S3_PORT": "http://s3:8333",
    "$S3_PORT": "8333",
    "$MLFLOW_PORT": "5000",
    # The page sets this aside, as it gives it another name.
    "$MLFLOW_ADMIN_PASSWORD": "${MLFLOW_ADMIN_PASSWORD}",
}


@cache
def compose() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    return loaded


def options(words: list[str]) -> list[str]:
    """`--name value` and `--name=value` alike, in order."""
    joined: list[str] = []
    for word in words:
        if joined and joined[-1].startswith("--") and "=" not in joined[-1] and not word.startswith("-"):
            joined[-1] += f"={word}"
        else:
            joined.append(word)
    return joined


def in_container(text: str) -> str:
    for here, there in WHERE.items():
        text = text.replace(here, there)
    return text


def started_by(block: str) -> list[str]:
    """The words of the block's last command, as compose.yaml would have them."""
    command = blocks()[block].split("exec ", 1)[1].replace("\\\n", " ")
    return [in_container(word) for word in options(shlex.split(command))]


def plain(word: str) -> str:
    """Without defaults, and with one spelling of variables."""
    return VARIABLE.sub(lambda found: f"${found[1]}", word)


def content(block: str, word: str) -> str:
    """What a block writes by a here-document that ends with `word`."""
    found = re.search(rf"<< {word}\n(.*?)^{word}$", blocks()[block], re.MULTILINE | re.DOTALL)
    assert found
    return in_container(found[1])


def test_the_server_is_started_alike() -> None:
    ours = [plain(word) for word in options(compose()["services"]["mlflow"]["command"])]
    assert ours == [plain(word) for word in started_by("mlflow")]
    assert any(word.startswith("--allowed-hosts=") for word in ours)


def test_the_s3_server_is_started_alike() -> None:
    service = compose()["services"]["s3"]
    ours = [*service["entrypoint"], *service["command"]]
    assert [*ours, "$S3_OPTIONS"] == started_by("s3")


def test_the_server_has_the_same_environment() -> None:
    lines = blocks()["server"].replace("export ", " ")
    page = dict(word.split("=", 1) for word in shlex.split(lines))
    ours = compose()["services"]["mlflow"]["environment"]
    # The block before sets all that was drawn.
    drawn = {
        name: f"${{{name}}}"
        for name in ("MLFLOW_FLASK_SERVER_SECRET_KEY", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
    }
    wanted = {name: in_container(value) for name, value in page.items()} | drawn
    assert {name: plain(value) for name, value in ours.items()} == {
        name: "http://s3:8333" if name == "MLFLOW_S3_ENDPOINT_URL" else plain(value) for name, value in wanted.items()
    }


def test_files_have_the_same_content() -> None:
    configs = {name: plain(each["content"]) for name, each in compose()["configs"].items()}
    assert configs["databases"] == plain(content("databases", "SQL"))
    assert configs["accounts"] == plain(content("accounts", "INI"))
    assert json.loads(configs["s3"]) == json.loads(plain(content("s3", "JSON")))


def test_the_image_holds_what_the_page_installs() -> None:
    requirement = re.compile(r'"([^"]+)"')
    page = requirement.findall(blocks()["install"])
    ours = requirement.findall((DEPLOY / "Dockerfile").read_text())
    assert ours == [each for each in page if not each.startswith("seaweedfs")]
    assert len(ours) == 3


def test_every_variable_is_drawn_or_has_a_default() -> None:
    drawn = runpy.run_path(str(DEPLOY / "draw_secrets.py"))["NAMES"]
    named = VARIABLE.findall((DEPLOY / "compose.yaml").read_text())
    assert [name for name, default in named if name not in drawn and not default.startswith(":-")] == []
    # What is drawn is of use here, or to people.
    used = {name for name, _ in named}
    assert set(drawn) - used == {"ADA_PASSWORD", "GRACE_PASSWORD"}


def test_drawn_secrets_are_new_each_time_and_need_no_quoting() -> None:
    program = [sys.executable, str(DEPLOY / "draw_secrets.py")]
    first, second = (subprocess.run(program, check=True, capture_output=True, text=True).stdout for _ in range(2))
    values = [line.split("=", 1)[1] for line in (*first.splitlines(), *second.splitlines())]
    assert len(set(values)) == len(values)
    assert all(re.fullmatch("[0-9a-f]{32}", value) for value in values)


def test_only_the_server_is_published_and_to_this_machine_alone() -> None:
    services = compose()["services"]
    assert {name for name, service in services.items() if "ports" in service} == {"mlflow"}
    assert services["mlflow"]["ports"] == ["${PUBLISH:-127.0.0.1:5000}:5000"]


def test_services_come_back_wait_for_each_other_and_keep_their_data() -> None:
    services = compose()["services"]
    for service in services.values():
        assert service["restart"] == "unless-stopped"
        assert service["healthcheck"]["test"][0] == "CMD"
    assert set(services["mlflow"]["depends_on"]) == set(services) - {"mlflow"}
    assert all(each["condition"] == "service_healthy" for each in services["mlflow"]["depends_on"].values())
    volumes = {volume.split(":")[0] for service in services.values() for volume in service.get("volumes", ())}
    assert volumes == set(compose()["volumes"])
    sources = {each["source"] for service in services.values() for each in service.get("configs", ())}
    assert sources == set(compose()["configs"])
