"""What the documentation shows runs, and prints what it says."""

import doctest
import importlib
import pathlib
import re

import pytest
import torch

ROOT = pathlib.Path(__file__).parents[2]


def check_docstrings(name):
    module = importlib.import_module(name)
    names = {**vars(module), "torch": torch}
    tests = [test for test in doctest.DocTestFinder().find(module, globs=names) if test.examples]
    assert tests
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
    for test in tests:
        assert runner.run(test).failed == 0, test.name


def check_page(page):
    """The blocks of a page are one program."""
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(), flags=re.DOTALL)
    assert blocks
    exec("\n".join(blocks), {"__name__": page})


PRIVATE = ["_tensors", "_history", "_losses", "_rates", "_snapshot", "_guard"]
LEARNING = ["_settings", "_task", "_problem", "_torch_task", "_vector_task"]


@pytest.mark.parametrize("name", ["lrpilot.torch", *(f"lrpilot.{name}" for name in PRIVATE + LEARNING)])
def test_examples_of_docstrings(name, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    check_docstrings(name)


def test_examples_of_environments():
    pytest.importorskip("gymnasium", reason="Gymnasium is not installed")
    check_docstrings("lrpilot.gym")


@pytest.mark.parametrize("page", ["python/README.md", "docs/guide/python.md"])
def test_code_of_pages(page):
    check_page(page)


def test_code_of_the_page_on_tasks(monkeypatch, tmp_path):
    pytest.importorskip("gymnasium", reason="Gymnasium is not installed")
    monkeypatch.chdir(tmp_path)
    check_page("docs/guide/python-tasks.md")
