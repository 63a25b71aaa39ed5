"""Hold twenty realistic requests against apt: the closure, and what works from a project's tree without root.

Usage: python benchmarks/system.py DIRECTORY [NAME ...]

As root on Debian bookworm, by hand; the table goes to docs/system-packages.md. A root file system of the base alone is
made in DIRECTORY: apt is asked there, and each command runs there as an unprivileged user, so that nothing of this
machine helps. "Entered" is what `dsenv run --enter` does, by unshare(1) and mount(8): the base has no Python for dsenv.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

from dsenv.outputs import project as output

SPEC = """\
[project]
name = "table"

[platform]
base = "bootstrap:debian:bookworm"
targets = ["linux-amd64"]
{r}
[system]
packages = ["{name}"]
"""
R = '\n[r]\nversion = "4.2"\nrepositories = ["apt"]\npackages = []\n'
C = r"""printf '#include <stdio.h>\nint main(void){puts("hi");return 0;}' > a.c && gcc a.c -o a && ./a"""
CXX = r"""printf '#include <iostream>\nint main(){std::cout<<"hi\\n";}' > b.cc && g++ b.cc -o b && ./b"""
JAVA = r"""printf 'class A{public static void main(String[] a){System.out.println("hi");}}' > A.java"""
TEX = r"""printf '%s' '\documentclass{article}\begin{document}hi\end{document}' > a.tex"""
OFFICE = "$LO_ROOT/usr/lib/libreoffice/program/soffice --headless --version | grep LibreOffice"
REQUESTS = {
    "libcurl4-openssl-dev": "curl-config --version",
    "r-base-dev": "R -s -e 'cat(sum(1:3))' | grep 6",
    "gdal-bin": "echo 10 50 | gdaltransform -s_srs EPSG:4326 -t_srs EPSG:3857 | grep ^1113194",
    "texlive-latex-base": f"{TEX} && pdflatex -interaction=batchmode a.tex && test -s a.pdf",
    "default-jdk-headless": f"{JAVA} && javac A.java && java A",
    "nodejs": "node -e 'console.log(1 + 1)'",
    "ffmpeg": "ffmpeg -loglevel error -f lavfi -i color=red:s=64x64:d=1 -y o.mp4 && test -s o.mp4",
    "postgresql-client": "psql --version",
    "libreoffice-core": OFFICE,
    "imagemagick": "convert -size 20x20 xc:red o.png && identify o.png",
    "ghostscript": "gs -q -sDEVICE=png16m -o o.png -c '/Helvetica 20 selectfont 9 9 moveto (hi) show showpage'",
    "tesseract-ocr": "printf 'P1 64 64 ' > o.pbm && yes 0 | head -4096 >> o.pbm && tesseract o.pbm out",
    "gnuplot": "gnuplot -e 'set term svg; set out \"o.svg\"; plot sin(x)' && test -s o.svg",
    "pandoc": "echo '# hi' | pandoc -s -t html -M title=t | grep '<h1'",
    "graphviz": "echo 'digraph { a -> b }' | dot -Tsvg | grep '<svg'",
    "git": "git init -q a; git -C a -c user.name=a -c user.email=a@b commit -q --allow-empty -m x && git clone -q a b",
    "sqlite3": "sqlite3 :memory: 'select 1 + 1'",
    "unixodbc": "isql --version",
    "build-essential": f"{C} && {CXX}",
    "chromium": "chromium --headless --no-sandbox --disable-gpu --dump-dom 'data:text/html,<b>hi</b>' | grep '<b>hi'",
}
ALSO = {"r-base-dev": ["r-base-core", "r-recommended"]}  # what [r] in dsenv.toml locks
USER = "1000"
HOME = "/tmp/work"  # noqa: S108 - in that root file system
NAMED = 4  # differences that the table names
PATH = "/usr/local/bin:/usr/bin:/bin"


def main(directory: Path, names: list[str]) -> None:
    """Print the table."""
    directory.mkdir(parents=True, exist_ok=True)
    directory.chmod(0o755)
    base = _project(directory / "base", "base-files")
    root = directory / "root"
    if not root.exists():
        _bootstrap(root, base)
    print("| request | packages beyond the base | the closure is apt's | from the tree | entered |")
    print("|---|---:|---|---|---|")
    for name in names or REQUESTS:
        project = _project(directory / name, name)
        rows = {row["name"]: row["version"] for row in _rows(project) if not row.get("base") and not row.get("build")}
        _dsenv(project, "restore", codes=(0, 5))
        plain, entered = (_works(project, root, REQUESTS[name], enter=enter) for enter in (False, True))
        print(
            f"| {name} | {len(rows)} | {_same(rows, _apt(root, name, *ALSO.get(name, ())))} | {plain} | {entered} |",
            flush=True,
        )
        shutil.rmtree(project / ".dsenv")


def _project(path: Path, name: str) -> Path:
    path.mkdir(exist_ok=True)
    path.chmod(0o755)
    (path / "dsenv.toml").write_text(SPEC.format(name=name, r=R if name.startswith("r-") else ""))
    _dsenv(path, "lock")
    return path


def _dsenv(project: Path, *words: str, codes: tuple[int, ...] = (0,)) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "dsenv", *words], cwd=project, capture_output=True, text=True, check=False
    )
    if done.returncode not in codes:
        sys.exit(f"{project}: {words}: {done.stdout}{done.stderr}")


def _rows(project: Path) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = tomllib.loads((project / "dsenv.lock").read_text())["system"]["linux-amd64"][
        "packages"
    ]
    return rows


def _bootstrap(root: Path, base: Path) -> None:
    """Make the base, with the machine's apt sources, which are those that dsenv locks from."""
    wanted = ",".join(f"{row['name']}={row['version']}" for row in _rows(base) if row.get("base"))
    sources = [*Path("/etc/apt").glob("sources.list"), *Path("/etc/apt/sources.list.d").glob("*")]
    argv = [
        "mmdebstrap",
        "--skip=cleanup/apt/lists",
        "--variant=custom",
        f"--include={wanted}",
        "--hook-dir=/usr/share/mmdebstrap/hooks/merged-usr",
    ]
    subprocess.run([*argv, "bookworm", str(root), *map(str, sources)], check=True, stdout=sys.stderr)


def _apt(root: Path, *names: str) -> dict[str, str]:
    """Return what a plain apt would install in the base, by its own simulation."""
    argv = ["chroot", str(root), "apt-get", "-s", "-qq", "install", "--no-install-recommends", *names]
    said = subprocess.run(
        argv, check=True, capture_output=True, text=True, env={"PATH": "/usr/sbin:/usr/bin", "LC_ALL": "C"}
    )
    return dict(re.findall(r"^Inst (\S+) (?:\[\S+\] )?\((\S+)", said.stdout, re.MULTILINE))


def _same(locked: dict[str, str], apt: dict[str, str]) -> str:
    differ = sorted({name for name in locked.keys() | apt.keys() if locked.get(name) != apt.get(name)})
    return "yes" if not differ else "no: " + ", ".join(differ[:NAMED]) + (" …" if len(differ) > NAMED else "")


def _works(project: Path, root: Path, command: str, *, enter: bool) -> str:
    """Run a command in the base as an unprivileged user; return "works" or the last line that it said."""
    environment = output.read((project / ".dsenv" / "current").resolve())
    tree = environment.path / "root"
    work = root / "tmp" / "work"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    os.chown(work, int(USER), int(USER))
    variables = environment.process_environment({"PATH": PATH, "HOME": HOME, "LO_ROOT": "" if enter else str(tree)})
    run = ["env", "-i", *(f"{name}={value}" for name, value in variables.items()), "sh", "-c", command]
    if enter:
        layers = " && ".join(
            f"mount -t overlay overlay -o lowerdir={tree}/{name}:/{name} /{name}"
            for name in ("usr", "etc", "opt")
            if (tree / name).is_dir()
        )
        run = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", f'{layers} && exec "$@"', "sh", *run]
    inner = shlex.join(["setpriv", "--reuid", USER, "--regid", USER, "--clear-groups", "env", "-C", HOME, *run])
    script = "\n".join(  # not chroot(8): within it no user namespace may be made
        (
            "set -e; mount --make-rprivate /",
            f"mount --bind {root} {root}",
            f"mkdir -p {root}{project} {root}/old",
            f"mount --bind {project} {root}{project}",
            f"mount --rbind /proc {root}/proc; mount --rbind /dev {root}/dev",
            f"cd {root}; pivot_root . old; umount -l /old",
            f"exec {inner}",
        )
    )
    done = subprocess.run(
        ["/usr/bin/unshare", "--mount", "sh", "-c", script],
        check=False,
        capture_output=True,
        text=True,
        timeout=300,
        stdin=subprocess.DEVNULL,
    )
    said = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
    print(json.dumps({"command": command, "enter": enter, "code": done.returncode, "said": said[-6:]}), file=sys.stderr)
    if done.returncode == 0:
        return "works"
    return "no: " + (said[-1] if said else f"exit code {done.returncode}").replace("|", "/")[:110]


if __name__ == "__main__":
    main(Path(sys.argv[1]).absolute(), sys.argv[2:])
