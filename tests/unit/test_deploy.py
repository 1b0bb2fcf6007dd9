"""The containers of deploy/ do what the page's plain commands do, which are those that are tested: held equal here."""

from __future__ import annotations

import json
import os
import re
import runpy
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml

from benchmarks.team import blocks

DEPLOY = Path(__file__).parents[2] / "deploy"
VARIABLE = re.compile(r"\$\{?([A-Z][A-Z0-9_]*)(:[-?][^}]*)?\}?")
S3_PUBLISHED = "${PUBLISH_S3:-127.0.0.1:8333}:8333"
# Notes what it is told, and what it would pass on; docker compose reads .env, too.
DOCKER = """\
import json, os, pathlib, sys
words = sys.argv[1:]
known = os.environ | dict(line.split("=", 1) for line in pathlib.Path(".env").read_text().splitlines())
given = [words[at + 1] for at, word in enumerate(words) if word == "-e"]
told = {name: known[name] for name in given if "=" not in name}
heard = "" if sys.stdin.isatty() else sys.stdin.buffer.read().decode()
with open("told.jsonl", "a") as file:
    print(json.dumps({"words": words, "told": told, "heard": heard}), file=file)
print("what docker says")
"""
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
def compose(name: str = "compose.yaml") -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((DEPLOY / name).read_text())
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


def test_the_server_is_started_alike_where_artifacts_go_directly() -> None:
    services = compose("compose.direct.yaml")["services"]
    ours = [plain(word) for word in options(services["mlflow"]["command"])]
    assert ours == [plain(word) for word in started_by("mlflow-direct")]
    # What is not said stays as it is: all but this, and the port that people then need.
    assert services == {"mlflow": {"command": services["mlflow"]["command"]}, "s3": {"ports": [S3_PUBLISHED]}}


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
    named = [found for file in DEPLOY.glob("compose*.yaml") for found in VARIABLE.findall(file.read_text())]
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


@dataclass(frozen=True)
class Call:
    """A call of docker's: its words, the variables that it passes on, and what it reads."""

    words: list[str]
    told: dict[str, str]
    heard: str

    @property
    def service(self) -> str:
        """The first word that is no option, nor the value of one."""
        return next(
            word
            for last, word in pairwise(self.words[1:])
            if not word.startswith("-") and last not in ("-e", "--entrypoint")
        )


def drawn(folder: Path) -> dict[str, str]:
    return dict(line.split("=", 1) for line in (folder / ".env").read_text().splitlines())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """As deploy/ is on a machine with docker, which here only notes what it is told."""
    copied = tmp_path / "deploy"
    shutil.copytree(DEPLOY, copied)
    secrets = subprocess.run(
        [sys.executable, "draw_secrets.py"], cwd=copied, check=True, capture_output=True, text=True
    )
    (copied / ".env").write_text(secrets.stdout)
    (tmp_path / "docker").write_text(f"#!{sys.executable}\n{DOCKER}")
    (tmp_path / "docker").chmod(0o755)
    return copied


def called(folder: Path, block: str) -> list[Call]:
    subprocess.run(
        ["bash", "-euo", "pipefail", "-c", blocks()[f"container-{block}"]],
        cwd=folder,
        env={"PATH": f"{folder.parent}:{os.environ['PATH']}"},
        stdin=subprocess.DEVNULL,
        check=True,
    )
    lines = (folder / "told.jsonl").read_text().splitlines()
    (folder / "told.jsonl").unlink()
    return [Call(**json.loads(line)) for line in lines]


def test_every_block_for_containers_runs_on_services_that_are_there_and_shows_no_secret(folder: Path) -> None:
    names = [name.removeprefix("container-") for name in blocks() if name.startswith("container-")]
    assert names == ["people", "backup", "restore", "gc", "upgrade"]
    for name in names:
        calls = called(folder, name)
        assert all(call.words[0] == "compose" for call in calls)
        services = {call.service for call in calls if call.words[1] in ("exec", "run", "stop", "build")}
        assert services <= set(compose()["services"])
        words = " ".join(word for call in calls for word in call.words)
        assert not [secret for secret in drawn(folder).values() if secret in words]


def test_accounts_are_made_in_the_container_by_the_same_program(folder: Path) -> None:
    (call,) = called(folder, "people")
    assert call.heard == (DEPLOY / "add_people.py").read_text()
    assert call.service == "mlflow"
    assert call.words[-4:] == ["python3", "-", "ada", "grace"]
    assert "python3 deploy/add_people.py ada grace" in blocks()["people"]
    secrets = drawn(folder)
    admin = {"MLFLOW_TRACKING_PASSWORD": secrets["MLFLOW_ADMIN_PASSWORD"]}
    assert call.told == admin | {name: secrets[name] for name in ("ADA_PASSWORD", "GRACE_PASSWORD")}


def test_a_containers_backup_is_what_is_restored(folder: Path) -> None:
    called(folder, "backup")
    assert {path.name for path in (folder / "backup").iterdir()} == {"mlflow.dump", "accounts.dump", "bucket.tar"}
    restored = called(folder, "restore")
    assert [call.heard for call in restored if call.heard] == ["what docker says\n"] * 3
    # Nothing reads or writes meanwhile, and everything runs again.
    assert restored[0].words == ["compose", "stop", "mlflow", "s3"]
    assert restored[-1].words == ["compose", "up", "--detach", "--wait"]


@pytest.mark.parametrize(("block", "programs"), [("gc", 1), ("upgrade", 2)])
def test_containers_are_kept_by_the_same_commands(folder: Path, block: str, programs: int) -> None:
    lines = blocks()[block].replace("\\\n", " ").splitlines()
    page = [options(shlex.split(line)) for line in lines if line.startswith(("mlflow ", "python3 "))]
    assert len(page) == programs
    calls = [call.words for call in called(folder, block)]
    ours = [options(words[words.index("mlflow") + 1 :]) for words in calls if {"exec", "run"} & set(words)]
    assert ours == [[in_container(word).replace("${OLDER_THAN:-30d}", "30d") for word in words] for words in page]
