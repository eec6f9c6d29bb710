"""What the documentation shows of trainers runs."""

import warnings

import pytest
from test_examples import check_docstrings, check_page

MODULES = {"lrpilot.hf": ["transformers", "accelerate"], "lrpilot.lightning": ["lightning"], "lrpilot.ray": ["ray"]}


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """Trainers write to where they are run."""
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("name", MODULES)
def test_examples_of_docstrings(name):
    for library in MODULES[name]:
        pytest.importorskip(library, reason=f"{library} is not installed")
    check_docstrings(name)


def test_code_of_the_page():
    for library in ["transformers", "accelerate", "lightning"]:
        pytest.importorskip(library, reason=f"{library} is not installed")
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="LearnedLR|eval_strategy")
        check_page("docs/guide/trainers.md")
