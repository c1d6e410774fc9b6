"""The page for Azure ML users: it names all that the SDK has, and nothing that the SDK does not have."""

from __future__ import annotations

import importlib
import inspect
import re
from pathlib import Path

import pytest

DOCS = Path(__file__).resolve().parent.parent / "docs"
PAGE = (DOCS / "azure.md").read_text(encoding="utf-8")

CLASSES = [
    "AmlCompute",
    "ComputeTarget",
    "CondaDependencies",
    "ContainerRegistry",
    "DatabricksSection",
    "DataReference",
    "DataReferenceConfiguration",
    "Datastore",
    "DockerBuildContext",
    "DockerConfiguration",
    "DockerImageDetails",
    "DockerSection",
    "Environment",
    "EnvironmentReference",
    "Estimator",
    "Experiment",
    "HistoryConfiguration",
    "ImageBuildDetails",
    "Model",
    "PythonSection",
    "RegistryIdentity",
    "ResourceConfiguration",
    "Run",
    "RunConfiguration",
    "ScriptRunConfig",
    "SparkPackage",
    "SparkSection",
    "Workspace",
]

_SECTION = re.compile(r"^### (?P<classes>.+)\n(?P<text>(?:(?!##).*\n)*)", re.MULTILINE)
_CODE = re.compile(r"`([^`\n]+)`")
_NAME = re.compile(r"\benvbuild\.sdk(?:\.\w+)*")

SECTIONS = {tuple(found["classes"].split(", ")): found["text"] for found in _SECTION.finditer(PAGE)}


def found_at(path: str) -> object:
    """What a dotted path stands for."""
    try:
        return importlib.import_module(path)
    except ModuleNotFoundError:
        module, _, name = path.rpartition(".")
        return getattr(importlib.import_module(module), name)


def kinds(section: str) -> list[type]:
    """The classes that a section is about: those that it names in full."""
    found = (found_at(path) for path in _NAME.findall(section))
    return [each for each in found if isinstance(each, type)]


def members(kind: type) -> set[str]:
    """The public names of a class that envbuild itself has given it."""
    own = [each for each in kind.__mro__ if each.__module__.startswith("envbuild.")]
    return {name for each in own for name in (*vars(each), *inspect.get_annotations(each)) if name[0] != "_"}


def first_cells(section: str) -> set[str]:
    """What the first column of a section's table names."""
    rows = (line.split("|")[1] for line in section.splitlines() if line.startswith("| `"))
    return {name for row in rows for name in _CODE.findall(row)}


def test_the_page_has_a_section_for_every_class_that_users_meet() -> None:
    named = [kind.__name__ for section in SECTIONS.values() for kind in kinds(section)]

    assert set(CLASSES) <= set(named)
    assert len(named) == len(set(named))


@pytest.mark.parametrize("classes", SECTIONS, ids=", ".join)
def test_a_section_names_every_public_method_and_attribute_of_its_classes(classes: tuple[str, ...]) -> None:
    text = SECTIONS[classes]
    words = {word for code in _CODE.findall(text) for word in re.findall(r"\w+", code)}

    unsaid = {kind.__name__: sorted(members(kind) - words) for kind in kinds(text)}

    assert not any(unsaid.values()), f"azure.md says nothing of {unsaid}"


@pytest.mark.parametrize("classes", SECTIONS, ids=", ".join)
def test_what_a_section_lists_is_there(classes: tuple[str, ...]) -> None:
    text = SECTIONS[classes]
    there = {name for kind in kinds(text) for name in (*members(kind), *inspect.signature(kind.__init__).parameters)}

    assert set(classes) <= {kind.__name__ for kind in kinds(text)}
    assert not first_cells(text) - there


@pytest.mark.parametrize("page", sorted(DOCS.glob("*.md")), ids=lambda page: page.name)
def test_every_name_of_the_sdk_on_a_page_can_be_imported(page: Path) -> None:
    for path in set(_NAME.findall(page.read_text(encoding="utf-8"))):
        assert found_at(path) is not None, path


def test_every_module_of_the_sdk_that_has_a_name_of_azures_is_where_the_page_says() -> None:
    for azure, here in re.findall(r"`azureml\.(core|train)((?:\.\w+)+)`", PAGE):
        assert found_at(f"envbuild.sdk{'.train' if azure == 'train' else ''}{here}")
