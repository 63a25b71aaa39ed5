"""The shipped example, restored on this machine: its R, its Python, its libraries, and no others."""

from __future__ import annotations

import json
import re
import resource
import subprocess
import sys
import tomllib
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.conftest import Dsenv

pytestmark = [pytest.mark.apt, pytest.mark.index]


def test_the_analysis_gives_tables_figures_and_a_report(penguins: Dsenv) -> None:
    results = penguins.directory / "results"
    assert (results / "summary.csv").read_text().startswith("species,sex,birds,mass_mean_g")
    assert (results / "classification.csv").read_text().count("\n") == 4
    for figure in ("summary.png", "classification.png"):
        content = (results / figure).read_bytes()
        assert content.startswith(b"\x89PNG")
        assert len(content) > 20_000
    report = (results / "report.html").read_text()
    assert "<table" in report
    assert "data:image/png;base64" in report


def test_libraries_are_those_of_the_lock(penguins: Dsenv) -> None:
    """BLAS, R itself, its libraries and the processes that R starts: all from the project's tree."""
    script = """
        cluster <- parallel::makeCluster(1)
        found <- list(blas = extSoftVersion()[["BLAS"]], lapack = La_library(), home = R.home(),
                      libraries = .libPaths(), inner = parallel::parSapply(cluster, 1, function(x) .libPaths()[1]),
                      version = as.character(getRversion()), paper = getOption("papersize"))
        parallel::stopCluster(cluster)
        cat(jsonlite::toJSON(found, auto_unbox = TRUE))
    """
    found = json.loads(penguins("run", "--", "Rscript", "-e", script).stdout)
    root = f"{penguins.current}/root"
    assert found["blas"].startswith(f"{root}/usr/lib/x86_64-linux-gnu/blas/libblas.so.3")
    assert found["lapack"].startswith(f"{root}/usr/lib/x86_64-linux-gnu/lapack/liblapack.so.3")
    assert found["home"] == f"{root}/usr/lib/R"
    assert found["libraries"] == [f"{root}/usr/lib/R/site-library", f"{root}/usr/lib/R/library"]
    assert found["inner"] == found["libraries"][0]
    assert (found["version"], found["paper"]) == ("4.2.2", "a4")


@pytest.mark.parametrize("place", ["home", "work"])
@pytest.mark.parametrize(
    "variables",
    [
        ("R_LIBS_USER", "R_LIBS", "R_LIBS_SITE"),
        ("R_PROFILE=/dev/null", "R_PROFILE_USER=/dev/null", "R_ENVIRON_USER", "R_LIBS"),
        ("R_PROFILE=/dev/null", "R_PROFILE_USER", "R_LIBS_SITE", "R_HOME", "R_SHARE_DIR"),
    ],
    ids=lambda variables: variables[0],
)
def test_r_reads_no_file_of_the_user(penguins: Dsenv, tmp_path: Path, variables: tuple[str, ...], place: str) -> None:
    """Neither a profile, nor a library, nor variables of a .Renviron change what R finds; the rest of it arrives."""
    library = tmp_path / "home" / "R" / "x86_64-pc-linux-gnu-library" / "4.2"
    library.mkdir(parents=True)
    (tmp_path / "home" / ".Rprofile").write_text(f'.libPaths("{library}"); options(from.home = TRUE)\n')
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / ".Rprofile").write_text("options(from.project = TRUE)\n")
    lines = [text if "=" in text else f"{text}={library}" for text in variables]
    (tmp_path / place / ".Renviron").write_text("\n".join(["TOKEN=secret", *lines]) + "\n")
    (tmp_path / "script.R").write_text(
        """
        report <- function(...) paste(getOption("from.home", FALSE), getOption("from.project", FALSE),
                                      Sys.getenv("TOKEN"), length(.libPaths()), .libPaths()[1])
        cluster <- parallel::makeCluster(1)
        inner <- parallel::clusterCall(cluster, report)[[1]]
        parallel::stopCluster(cluster)
        child <- system2("Rscript", c("--no-init-file", "-e", "'cat(.libPaths())'"), stdout = TRUE)
        cat(report(), inner, child, sep = "\n")
        """
    )
    completed = penguins(
        "run",
        "--",
        "sh",
        "-c",
        f"cd {tmp_path}/work && Rscript ../script.R && R --no-save -q -s -f ../script.R",
        HOME=str(tmp_path / "home"),
        R_LIBS=str(library),
        R_LIBS_USER=str(library),
        R_PROFILE_USER=str(tmp_path / "home" / ".Rprofile"),
        R_ENVIRON_USER=str(tmp_path / place / ".Renviron"),
    )
    site, base = (f"{penguins.current}/root/usr/lib/R/{name}" for name in ("site-library", "library"))
    found = f"FALSE TRUE secret 2 {site}\n"
    assert completed.stdout == 2 * (2 * found + f"{site} {base}\n"), completed.stderr


def test_vanilla_r_sees_the_same_libraries(penguins: Dsenv, tmp_path: Path) -> None:
    (tmp_path / ".Renviron").write_text(f"R_LIBS={tmp_path}\nTOKEN=secret\n")
    script = 'cat(length(.libPaths()), .libPaths()[1], Sys.getenv("TOKEN", "none"), "\n")'
    command = f"for how in --vanilla --no-environ; do Rscript $how -e '{script}'; done"
    completed = penguins("run", "--", "sh", "-c", command, HOME=str(tmp_path))
    assert completed.stdout == 2 * f"2 {penguins.current}/root/usr/lib/R/site-library none \n"


def test_a_session_does_not_change_its_libraries(penguins: Dsenv, tmp_path: Path) -> None:
    """Each verb that would says which command changes the lock; a library of one's own may be filled."""
    script = f"""
        attempt <- function(expression) cat(tryCatch(expression, error = conditionMessage), sep = "\\n")
        attempt(install.packages(c("gt", "DT")))
        attempt(utils::remove.packages("dplyr"))
        attempt(update.packages(ask = FALSE))
        attempt(install.packages("gt", lib = "{tmp_path}", repos = "file://{tmp_path}"))
    """
    words = penguins("run", "--", "Rscript", "-e", script, code=None).stdout
    assert re.findall(r"^  (dsenv .*)$", words, re.MULTILINE) == [
        "dsenv add r:gt r:DT",
        "dsenv remove r:dplyr",
        "dsenv lock --upgrade",
    ]
    assert "PACKAGES" in words.splitlines()[-1] or "cannot open" in words.splitlines()[-1]


def test_an_r_that_something_else_started_finds_the_libraries(penguins: Dsenv, tmp_path: Path) -> None:
    """As RStudio does: by the line in .Rprofile, which may be there twice; under another minor it adds none."""
    line = 'if (file.exists(".dsenv/activate.R")) source(".dsenv/activate.R")\n'
    (tmp_path / ".Rprofile").write_text(2 * line)
    (tmp_path / ".dsenv").symlink_to(penguins.directory / ".dsenv")
    script = 'cat(.libPaths()[1:2], Sys.getenv("RETICULATE_PYTHON"), sep = "\\n"); install.packages("gt")'
    unset = [word for name in ("R_PROFILE", "R_PROFILE_USER", "R_LIBS", "RETICULATE_PYTHON") for word in ("-u", name)]
    command = ("run", "--", "env", "-C", str(tmp_path), *unset, "Rscript", "-e", script)
    completed = penguins(*command, code=1)
    libraries = [f"{penguins.current}/root/usr/lib/R/{name}" for name in ("site-library", "library")]
    assert completed.stdout.splitlines() == [*libraries, f"{penguins.current}/venv/bin/python"]
    assert "dsenv add r:gt" in completed.stderr

    other = (penguins.current / "entry" / "activate.R").read_text().replace('"4.2"', '"4.9"')
    (tmp_path / ".dsenv").unlink()
    (tmp_path / ".dsenv").mkdir()
    (tmp_path / ".dsenv" / "activate.R").write_text(other)
    completed = penguins(*command, code=None)
    assert "its packages are not used" in completed.stderr
    assert libraries[0] not in completed.stdout


def test_dpkg_knows_the_environment_and_the_machine(penguins: Dsenv) -> None:
    """One package is looked for in the environment first; lists are the machine's."""
    form = "${Package} ${Version}\\n"
    host = subprocess.run(["dpkg-query", "-W", "-f", form], capture_output=True, text=True, check=True).stdout
    lock = tomllib.loads(penguins.locks()["dsenv.lock"].decode())
    rows = {row["name"]: row["version"] for row in lock["system"]["linux-amd64"]["packages"]}

    def ask(*words: str, code: int = 0) -> str:
        return str(penguins("run", "--", *words, code=code).stdout)

    assert ask("dpkg-query", "-W", "-f", form) == host
    assert ask("dpkg-query", "-W", f"-f={form}", "lib*").count("\n") > 20
    assert ask("dpkg-query", f"-Wf{form}", "libblas3") == f"libblas3 {rows['libblas3']}\n"
    assert ask("dpkg-query", "-W", "-f", form, "--", "libblas3") == f"libblas3 {rows['libblas3']}\n"
    assert f"Version: {rows['libblas3']}\n" in ask("dpkg", "-s", "libblas3")
    assert ask("dpkg-query", "-W", "-f", form, "libc6") in host
    assert ask("dpkg-query", "-W", "-f", form, "dpkg", "libc6").count("\n") == 2
    ask("dpkg", "-s", "dsenv-no-such-package", code=1)


def test_the_base_is_whole_from_within_the_environment(penguins: Dsenv) -> None:
    """dsenv asks the machine's own database for the base, wherever it runs."""
    without = penguins.json("restore")["base"]
    within = json.loads(penguins("run", "--", sys.executable, "-m", "dsenv", "restore", "--json").stdout)
    assert within["data"]["base"] == without


def test_what_maintainer_scripts_would_make_is_named(penguins: Dsenv) -> None:
    notes = penguins.json("status")["notes"]
    assert any(
        note.startswith("ca-certificates: its maintainer script does not run: the machine's cert") for note in notes
    )
    assert not any("libblas" in note for note in notes)


def test_status_does_little(penguins: Dsenv) -> None:
    """Not a benchmark: a bound that is missed only when something heavy crept in, whatever else the machine does."""

    def worked() -> float:
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        return usage.ru_utime + usage.ru_stime

    penguins("status")
    before = worked()
    penguins("status")
    assert worked() - before < 2


def test_the_example_verifies(penguins: Dsenv) -> None:
    answer = penguins.json("verify")
    assert answer["total"] > 20_000
    assert answer["differences"] == []


def test_linked_files_of_r_packages_are_whole(penguins: Dsenv) -> None:
    library = penguins.current / "root" / "usr" / "lib" / "R" / "site-library"
    dangling = [path for path in library.rglob("*") if path.is_symlink() and not path.exists()]
    assert dangling == []
    assert (library / "rmarkdown" / "rmd" / "h" / "bootstrap").is_dir()
