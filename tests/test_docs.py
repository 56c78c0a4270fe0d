"""The documentation agrees with the code: pages, parameters, links, commands, pictures."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from PIL import Image

from bench.budgets import Budget, parse_budgets
from bench.cli import cli
from bench.components import parameters
from bench.contract import METHODS, Context, ImageDataset
from bench.datasets import DATASETS
from bench.errors import UsageError
from bench.models import MODELS
from bench.protocols import PROTOCOLS

ROOT = Path(__file__).parents[1]
PAGES = ROOT / "docs/methods"
INDEX = ROOT / "docs/methods.md"
README = ROOT / "README.md"
PIXEL_STAGE = "pixel-stage"
SECTIONS = ("Parameters", "Released code", "Cost", "Tests", "Citation")
COSTS = ("What the differences cost",)
THE_PAPERS = ("graphcut", "dq", "adq")
REGISTRIES = {
    "methods": METHODS,
    "base": METHODS,
    "dataset": DATASETS,
    "models": MODELS,
    "protocol": PROTOCOLS,
}
LARGEST_PICTURE = 60_000
ALL_PICTURES = 1_000_000


def built_in() -> list[str]:
    """The methods of this repository; plugins that are installed have no page here."""
    return [n for n in METHODS.names() if METHODS.get(n).__module__.startswith("methods.")]


def pages() -> list[Path]:
    return sorted(PAGES.glob("*.md"))


def documents() -> list[Path]:
    return [README, *sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]


def text_of(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def rows_of(page: str) -> dict[str, list[str]]:
    """The rows of tables whose first cell is one name in backticks, by that name."""
    found = {}
    for line in page.splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split(" | ")]
        if line.startswith("|") and re.fullmatch(r"`[\w-]+`", cells[0]):
            found[cells[0].strip("`")] = cells
    return found


def written(value: object) -> str:
    """A value as users type it."""
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else f"{value}" or "(nothing)"


def code_of(page: str, language: str) -> Iterator[str]:
    yield from re.findall(rf"```{language}\n(.*?)```", page, re.DOTALL)


def without_code(page: str) -> str:
    return re.sub(r"`[^`\n]+`", "", re.sub(r"```.*?```", "", page, flags=re.DOTALL))


def test_every_method_has_a_page_and_every_page_a_method():
    assert {page.stem for page in pages()} == {*built_in(), PIXEL_STAGE}


@pytest.mark.parametrize("name", built_in())
def test_pages_have_the_same_parts(name):
    page = text_of(PAGES / f"{name}.md")
    assert page.startswith(f"# {name}: ")
    headings = re.findall(r"^## (.+)$", page, re.MULTILINE)
    for wanted in (*SECTIONS, *(COSTS if name in THE_PAPERS else ())):
        assert wanted in headings
    assert len(list(code_of(page, "math"))) >= 1
    assert 40 <= len(page.splitlines()) <= 150


@pytest.mark.parametrize("name", built_in())
def test_pages_and_listings_agree_whether_code_was_released(name):
    told = text_of(PAGES / f"{name}.md").split("## Released code\n\n")[1]
    assert METHODS.get(name).info.released != told.startswith("None")


@pytest.mark.parametrize("name", built_in())
def test_every_parameter_is_told_with_its_defaults_and_what_is_allowed(name):
    method = METHODS.get(name)
    rows = rows_of(text_of(PAGES / f"{name}.md"))
    assert set(rows) == {parameter.name for parameter in parameters(method)}
    for parameter in parameters(method):
        _, default, allowed, meaning, source = rows[parameter.name]
        assert default.split("; ")[0] == f"`{written(parameter.default)}`"
        for edition, preset in method.presets.items():
            value = preset.get(parameter.name, parameter.default)
            if value != parameter.default:
                told = next(part for part in default.split("; ") if edition in _editions(part))
                assert told.endswith(f": `{written(value)}`")
        for choice in parameter.choices:
            assert f"`{choice}`" in allowed
        assert meaning
        assert source


def _editions(part: str) -> list[str]:
    return part.split(": ")[0].split(" and ")


def test_the_pixel_stages_page_has_the_defaults_of_the_methods_that_have_it():
    rows = rows_of(text_of(PAGES / f"{PIXEL_STAGE}.md"))
    assert set(rows) == {"drop", "attention", "mae", "mae_epochs", "alignment"}
    for name in ("dq", "adq", "dqas"):
        for parameter in parameters(METHODS.get(name)):
            if parameter.name in rows:
                assert f"`{written(parameter.default)}`" in rows[parameter.name][1]


def test_a_reconstruction_says_so_first():
    for name in built_in():
        heading = text_of(PAGES / f"{name}.md").splitlines()[0]
        assert METHODS.get(name).info.reconstruction == ("a reconstruction" in heading)


def test_the_index_and_the_readme_name_every_method():
    index = text_of(INDEX)
    for page in pages():
        assert f"(methods/{page.name})" in index
    for name in built_in():
        assert re.search(rf"^\| \[{name}\]\(methods/{name}\.md\) \| {METHODS.get(name).info.kind} ", index, re.MULTILINE)  # fmt: skip  # noqa: E501
    assert set(rows_of(text_of(README))) == set(built_in())


@pytest.mark.parametrize("path", documents(), ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(path):
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", without_code(text_of(path))):
        if "://" not in target:
            assert (path.parent / target).exists(), target


@pytest.mark.parametrize("path", [INDEX, *pages()], ids=lambda path: path.stem)
def test_our_files_that_are_named_exist(path):
    inline = re.findall(r"`([^`\n]+)`", text_of(path))
    ours = [name for name in inline if re.match(r"(tests|methods|docs|reports|bench)/", name)]
    for name in ours:
        assert (ROOT / name).exists(), name


@pytest.mark.parametrize("path", [README, INDEX, *pages()], ids=lambda path: path.stem)
def test_commands_parse_and_what_they_name_exists(path):
    page = text_of(path)
    blocks = [block.replace("\\\n", " ") for block in code_of(page, "sh")]
    lines = [line for block in blocks for line in block.splitlines()]
    inline = re.findall(r"`(bench [^`\n]+)`", page)
    for line in [*lines, *inline]:
        for command in re.split(r"&&|\|\|", line):
            words = shlex.split(command, comments=True)
            if words and words[0].endswith("bench"):
                check_command(words[1:])


def check_command(words: list[str]) -> None:
    """Parse a command as the shell would give it, and make what its options name."""
    command: click.Command = cli
    if not words:
        return
    command = cli.commands[words[0]]
    given = [word for word in words[1:] if word not in ("...", "…")]
    context = command.make_context(words[0], list(given), resilient_parsing=True)
    flags = {flag for parameter in command.params for flag in (*parameter.opts, *parameter.secondary_opts)}  # fmt: skip  # noqa: E501
    for word in given:
        if word.startswith("-"):
            assert word.split("=")[0] in flags, f"{words[0]} has no option {word}"
    for option, registry in REGISTRIES.items():
        if isinstance(text := context.params.get(option), str):
            registry.make(text)
    for option in ("ratio", "ratios"):
        if isinstance(text := context.params.get(option), str):
            parse_budgets(text)


def test_a_wrong_command_would_be_noticed():
    check_command(shlex.split("run --methods 'dq[bins=20]' --ratios 10,10b"))
    with pytest.raises(AssertionError, match="--ratos"):
        check_command(shlex.split("run --ratos 10"))
    for wrong in ("run --methods 'dq[bin=20]'", "pictures --ratio 0 --out x", "run --dataset no"):
        with pytest.raises(UsageError):
            check_command(shlex.split(wrong))
    with pytest.raises(KeyError):
        check_command(["picture"])


@pytest.mark.parametrize("path", [README, INDEX, *pages()], ids=lambda path: path.stem)
def test_specs_in_the_text_can_be_made(path):
    made = 0
    for name, given in re.findall(r"`([\w-]+)\[([^`\n]*)\]`", text_of(path)):
        registry = next((r for r in REGISTRIES.values() if name in r.names()), None)
        if registry is not None and "..." not in given:
            registry.make(f"{name}[{given}]")
            made += 1
    for name, value in re.findall(r"`([a-z_]+)=([\w.+-]+)`", text_of(path)):
        if path.stem in built_in():
            owners = [p for p in parameters(METHODS.get(path.stem)) if p.name == name]
            for parameter in owners:
                parameter.convert(value, path.stem)
    assert made or path.stem not in ("dq", "adq", "dm", "README")


@pytest.mark.parametrize("path", [INDEX, *pages()], ids=lambda path: path.stem)
def test_mathematics_has_what_github_renders(path):
    page = text_of(path)
    fences = re.findall(r"^```", page, re.MULTILINE)
    assert len(fences) % 2 == 0
    for block in code_of(page, "math"):
        assert block.count("{") == block.count("}")
    prose = without_code(page)
    assert prose.count("$") % 2 == 0
    for formula in re.findall(r"\$([^$]+)\$", prose):
        assert formula.count("{") == formula.count("}"), formula
        assert "\n" not in formula, formula
        # Markdown takes a backslash before these for its own, and the formula loses it.
        assert not re.search(r"\\[{}|,;!_]", formula), formula


def test_every_page_shows_a_picture_that_is_small():
    shown = set()
    for page in pages():
        pictures = re.findall(r"!\[[^\]]+\]\((pictures/[^)]+)\)", text_of(page))
        assert pictures, page
        shown |= {PAGES / name for name in pictures}
    kept = set((PAGES / "pictures").iterdir())
    assert shown == kept
    for path in kept:
        with Image.open(path) as image:
            assert image.format in ("JPEG", "PNG")
            image.load()
        assert path.stat().st_size < LARGEST_PICTURE, path
    assert sum(path.stat().st_size for path in kept) < ALL_PICTURES


@pytest.mark.parametrize("page", pages(), ids=lambda path: path.stem)
def test_pictures_of_the_copy_of_cifar_say_that_it_is_one(page):
    assert "CIFAR-10 (JPEG q75 copy)" in text_of(page)


def offered(kind: type) -> set[str]:
    """The public names of an object that a method is given; what makes or names one is left out."""
    found = {*vars(kind), *kind.__annotations__}
    makers = {name for name in found if isinstance(vars(kind).get(name), classmethod)}
    return {name for name in found - makers - {"identity"} if not name.startswith("_")}


@pytest.mark.parametrize(
    ("given", "kind"), [("budget", Budget), ("train", ImageDataset), ("ctx", Context)]
)
def test_the_guide_tells_all_that_a_method_is_given_and_nothing_else(given, kind):
    guide = text_of(ROOT / "docs/new-method.md")
    assert set(re.findall(rf"\b{given}\.(\w+)", guide)) == offered(kind)


def test_advice_with_brackets_is_in_quotes():
    """Bare ones are a pattern of file names for zsh, which then refuses the whole command."""
    bare = re.compile(r"(?:--[a-z-]+|\b[Gg]ive|\bor|\be\.g\.|one:) (?:[\w.-]+|\{[\w.]+\})\[\w+=")
    sources = [p for place in ("bench", "methods") for p in sorted((ROOT / place).rglob("*.py"))]
    found = [
        f"{path.relative_to(ROOT)}: {line.strip()}"
        for path in [*sources, README]
        for line in text_of(path).splitlines()
        if bare.search(line) and "`" not in line
    ]
    assert not found, found
