"""The contributor's menu: `nox -l` lists it, `nox -s lint` runs one dish."""

from __future__ import annotations

from pathlib import Path

import nox

nox.options.default_venv_backend = "venv"
nox.options.reuse_existing_virtualenvs = True
nox.options.sessions = ["lint", "typing", "floors", "tests-3.11"]

PYTHONS = ["3.11", "3.12", "3.13", "3.14"]


def _install(session: nox.Session) -> None:
    session.install("-e", ".[dev]")


@nox.session
def lint(session: nox.Session) -> None:
    """Style: ruff's rules and format."""
    session.install("ruff")
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")


@nox.session
def typing(session: nox.Session) -> None:
    """Types: mypy, strict."""
    _install(session)
    session.run("mypy")


@nox.session
def floors(session: nox.Session) -> None:
    """Architecture: imports point downward only."""
    _install(session)
    session.run("lint-imports")


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """The suite, on each Python that is installed."""
    _install(session)
    session.run("pytest", "-n", "2", *session.posargs)


@nox.session(python=PYTHONS[0])
def lowest(session: nox.Session) -> None:
    """The suite, with the oldest versions that pyproject.toml allows."""
    project = nox.project.load_toml("pyproject.toml")["project"]
    extras = project["optional-dependencies"]
    kinds = ("demo", "otel", "parquet", "prometheus", "stores", "dev")
    wanted = [*project["dependencies"], *(need for kind in kinds for need in extras[kind])]
    pinned = [need.partition(";")[0].strip().replace(">=", "==") for need in wanted if ">=" in need]
    session.install(*pinned)
    session.install("--no-deps", "-e", ".")
    session.run("pytest", "-n", "2", *session.posargs)


@nox.session
def faults(session: nox.Session) -> None:
    """The long campaigns: kill, drop, cancel, fill; all thirteen migrations on 200,000 users."""
    _install(session)
    session.run(
        "pytest",
        *("tests/faults", "tests/migrations"),
        *("--timeout", "7200", "-o", "addopts=--strict-markers"),
        *session.posargs,
    )


@nox.session
def wheel(session: nox.Session) -> None:
    """The built wheel, installed elsewhere and used from another folder."""
    built = Path(session.create_tmp(), "dist").absolute()
    session.run("python", "-m", "pip", "wheel", "--no-deps", "--wheel-dir", str(built), ".")
    newest = max(built.glob("*.whl"), key=lambda path: path.stat().st_mtime)
    session.install("--force-reinstall", f"{newest}[demo]")
    with session.chdir(session.create_tmp()):
        session.run("datamig", "--version")
        session.run("python", "-m", "taaxdog_datamig", "demo", "--users", "500")


@nox.session
def docs(session: nox.Session) -> None:
    """The documentation says what the code does; then it is built into `docs/_build`."""
    session.install("-e", ".[dev,docs]")
    session.run("pytest", "tests/docs", "-o", "addopts=--strict-markers")
    session.run("sphinx-build", "-q", "-W", "--keep-going", "-b", "html", "docs", "docs/_build")


@nox.session
def reference(session: nox.Session) -> None:
    """Write the reference of checks from the rules, and the manual page from the commands."""
    _install(session)
    session.run("python", "tests/docs/checks_page.py")
    session.run("python", "tests/docs/man_page.py")


@nox.session
def images(session: nox.Session) -> None:
    """Draw the pictures of the documentation from real screens."""
    _install(session)
    session.run("python", "-m", "tests.docs.screenshot")


@nox.session
def bench(session: nox.Session) -> None:
    """Speed: how long `--help` takes, and what else `benchmarks/` holds."""
    session.install("-e", ".[dev,bench]")
    for benchmark in sorted(Path("benchmarks").glob("bench_*.py")):
        session.run("python", str(benchmark))
