"""A project's tree as its programs and other tools find it: entered, and started without dsenv."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from dsenv.tree import compare, scan

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.conftest import Dsenv

pytestmark = [pytest.mark.apt, pytest.mark.index]
TEX = r"""\documentclass{article}\usepackage{graphicx,amsmath}\begin{document}
\begin{align}\int_0^1 x^2\,dx = \tfrac13\end{align}
\setlength{\unitlength}{1mm}\begin{picture}(20,20)\put(10,10){\circle{8}}\end{picture}\scalebox{2}{hi}
\end{document}"""
ENTERED = "test -x /usr/bin/jq && stat -c %d:%i /usr/bin/jq && echo entered"


def test_what_an_editor_starts_is_the_environment(small: Dsenv) -> None:
    """No variable is set, .venv is there, and nothing that it starts is drift."""
    small("restore")
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(small.directory)}
    script = "import six, sys, os, shutil; print(sys.prefix, os.environ['DSENV_ID'][:4], shutil.which('jq'))"
    for python in (".dsenv/bin/python", ".dsenv/venv/bin/python", ".venv/bin/python3"):
        done = subprocess.run(
            [small.directory / python, "-c", script], env=environment, text=True, capture_output=True, check=True
        )
        current = str(small.current)
        assert done.stdout.split() == [f"{current}/venv", small.current.name[:4], f"{current}/root/usr/bin/jq"]
    assert (small.directory / ".venv" / "pyvenv.cfg").is_file()
    assert small.json("verify")["differences"] == []
    (small.current / "entry" / "bin" / "jq").unlink()
    assert [item["path"] for item in small.json("verify", code=4)["differences"]] == ["entry/bin/jq"]


def test_tex_works_in_the_tree_and_is_made_the_same_anywhere(dsenv: Dsenv, tmp_path: Path) -> None:
    """Maps of fonts, formats and lists of files are made at restore, the user's own TeX does not count."""
    dsenv.spec('[system]\npackages = ["texlive-latex-base"]\n')("lock")
    other = dsenv.copy(tmp_path / "another" / "pl ace")
    assert "TeX" not in dsenv("restore").stdout
    other("restore")
    assert compare(scan(dsenv.current / "root"), scan(other.current / "root")) == []
    (other.directory / "a.tex").write_text(TEX)
    other("run", "--", "pdflatex", "-interaction=batchmode", "a.tex", HOME=str(other.directory))
    assert (other.directory / "a.pdf").read_bytes().startswith(b"%PDF")
    assert f"{other.current}/root/usr/share/texlive" in (other.directory / "a.log").read_text().replace("\n", "")
    # What restore does not make is made outside of the environment.
    other("run", "--", "mktexfmt", "tex.fmt")
    answer = other.json("verify")
    assert answer["differences"] == []
    assert "root/var/lib/texmf/web2c/pdftex/pdflatex.fmt" in {item["path"] for item in answer["generated"]}
    (other.current / "root/var/lib/texmf/ls-R").write_text("")
    (other.current / "root/var/lib/texmf/more").write_text("")
    assert {item["path"] for item in other.json("verify", code=4)["differences"]} == {
        "root/var/lib/texmf/ls-R",
        "root/var/lib/texmf/more",
    }


@pytest.mark.root
def test_the_tree_lies_over_usr_for_one_process(small: Dsenv) -> None:
    small("restore")
    tree = (small.current / "root" / "usr" / "bin" / "jq").stat()
    done = small("run", "--enter", "--", "sh", "-c", f'{ENTERED}; cat "$0"', "/proc/self/cgroup")
    assert done.stdout.splitlines()[1] == "entered"
    inode = int(done.stdout.splitlines()[0].partition(":")[2])
    assert inode == tree.st_ino
    assert small("run", "--enter", "--", "sh", "-c", "exit 7", code=7)
    assert small("run", "--enter", "--image", "--", "true", code=2)

    # A user without rights enters by a user namespace, and is told where that is forbidden.
    wrapper = ("setpriv", "--bounding-set", "-sys_admin", "--inh-caps", "-sys_admin")
    done = small("run", "--enter", "--", "sh", "-c", f"{ENTERED}; id -u", wrapper=wrapper)
    assert done.stdout.splitlines()[1:] == ["entered", str(os.getuid())]
    limit = f"echo 0 > /proc/sys/user/max_user_namespaces; exec {' '.join(wrapper)} " + '"$@"'
    forbidden = ("unshare", "--user", "--map-root-user", "sh", "-c", limit, "sh")
    done = small("run", "--enter", "--", "true", code=1, wrapper=forbidden)
    assert "cannot be laid over /usr here" in done.stderr
