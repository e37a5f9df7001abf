"""The reference says what the code does: every command, option, setting, exit code and JSON shape."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest
from cyclopts import App

from taaxdog_datamig.settings import SECRETS, Settings
from taaxdog_datamig_cli import exits, shapes
from taaxdog_datamig_cli.main import EXAMPLES, app, main

DOCS = Path(__file__).parents[2] / "docs"
CLI = (DOCS / "reference/cli.md").read_text()


def commands(parent: App = app, chain: tuple[str, ...] = ()) -> Iterator[tuple[str, App]]:
    for name in parent:
        if name.startswith("-"):
            continue
        command = parent[name]
        if command.default_command:
            yield " ".join((*chain, name)), command
        yield from commands(command, (*chain, name))


COMMANDS = dict(commands())


def options(command: App) -> set[str]:
    """Its long options, as they are written."""
    return {
        name
        for argument in command.assemble_argument_collection().filter_by(parse=True)
        for name in argument.names
        if name.startswith("--")
    }


def sections() -> dict[str, str]:
    parts = re.split(r"^## (.+)$", CLI, flags=re.MULTILINE)
    return {title.strip("`"): text for title, text in zip(parts[1::2], parts[2::2], strict=True)}


def documented(section: str) -> set[str]:
    """The long options in a section's table, the first column alone."""
    first = "\n".join(re.findall(r"^\| (.+?) \| ", section, re.MULTILINE))
    return set(re.findall(r"`(--[\w-]+)", first))


def test_every_command_is_documented_and_nothing_else() -> None:
    assert set(sections()) - {"Common options", "Exit codes"} == set(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_is_documented_and_nothing_else(name: str) -> None:
    assert documented(sections()[name]) == options(COMMANDS[name])


def test_the_common_options_are_documented() -> None:
    own = {"--help", "--version", "--install-completion"}
    assert documented(sections()["Common options"]) == options(app.meta) | own


def test_exit_codes_are_those_of_the_table() -> None:
    rows = re.findall(r"^\| (\d+) \| (.+) \|$", sections()["Exit codes"], re.MULTILINE)
    assert {int(code): meaning for code, meaning in rows} == exits.MEANINGS


@pytest.mark.parametrize("name", ["", *COMMANDS])
def test_every_help_page_shows_its_examples(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*name.split(), "--help"]) == 0
    page = capsys.readouterr().out
    assert EXAMPLES[name]
    for example in EXAMPLES[name]:
        assert f"  {example}\n" in page


@pytest.mark.parametrize("line", [line for lines in EXAMPLES.values() for line in lines])
def test_every_example_is_a_command_line(line: str) -> None:
    words = line.split()[1:]
    app.meta.parse_args(words, exit_on_error=False, print_error=False)
    bare = [word for word in words if word != "--json"]
    if "--database" in bare:
        place = bare.index("--database")
        del bare[place : place + 2]
    app.parse_args(bare, exit_on_error=False, print_error=False)


def test_every_setting_and_its_variable_is_documented() -> None:
    text = (DOCS / "reference/settings.md").read_text()
    rows = {cells[0]: cells[1] for cells in re.findall(r"^\| `(\w+)` \| (.*?) \|", text, re.MULTILINE)}
    assert set(rows) == {field.name for field in attrs.fields(Settings)}
    for name in ("DATABASE_URL", "BACKUP_DIR", "ARCHIVE_DIR", "LOG_LEVEL"):
        assert rows[name.lower()] == f"`{name}`"
    for name in SECRETS:
        assert rows[name.lower()] == f"`{name}`, `{name}_FILE`"


def test_every_json_shape_and_its_fields_are_documented() -> None:
    text = (DOCS / "reference/json.md").read_text()
    rows = dict(re.findall(r"^\| `(datamig/[\w-]+/\d+)` \| .*? \| (.*) \|$", text, re.MULTILINE))
    rows.pop(shapes.ERROR)
    expected = {
        schema: {field.name for field in attrs.fields(kind)} for kind, schema in shapes.SCHEMAS.items()
    }
    expected["datamig/plan/1"] |= {"pending_rows"}
    assert {schema: set(re.findall(r"`(\w+)`", fields)) for schema, fields in rows.items()} == expected


def test_links_between_pages_lead_somewhere() -> None:
    for path in [*DOCS.rglob("*.md"), DOCS.parent / "README.md"]:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", path.read_text()):
            assert (path.parent / target).exists(), f"{path}: {target}"


def test_every_shell_command_in_the_pages_exists() -> None:
    for path in [*DOCS.rglob("*.md"), DOCS.parent / "README.md"]:
        for block in re.findall(r"```sh\n(.*?)```", path.read_text(), re.DOTALL):
            for line in re.findall(r"^(?:\S*/)?datamig (.+?)(?: *#.*| > .*)?$", block, re.MULTILINE):
                if line.startswith("--"):
                    assert line.split()[0] in {"--install-completion", "--version", "--help"}
                    continue
                assert any(f"{line} ".startswith(f"{name} ") for name in COMMANDS), f"{path}: {line}"
