"""What is there without PyTorch."""

import subprocess
import sys

import pytest

import lrpilot
from lrpilot._native import Policy
from lrpilot._policy import PolicyFile


def test_the_package_itself_imports_nothing_big():
    code = "import sys, lrpilot; print([m for m in ('torch', 'numpy', 'matplotlib') if m in sys.modules])"
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert output.strip() == "[]"


def test_errors_name_place_value_and_remedy(policy):
    with pytest.raises(lrpilot.DataError, match=r"x\.safetensors: not a policy file"):
        Policy(b"nonsense", "x.safetensors")
    with pytest.raises(lrpilot.ConfigError, match='family: "sdg"; give sgd'):
        PolicyFile.read(policy).load().start(5, "sdg", [(1, 1.0, 1.0)])
    with pytest.raises(lrpilot.ConfigError, match="state: .*; restore what"):
        PolicyFile.read(policy).load().resume("{}")
    with pytest.raises(FileNotFoundError):
        PolicyFile.read("nowhere.safetensors")
    assert issubclass(lrpilot.ConfigError, ValueError) and issubclass(lrpilot.DataError, ValueError)


def test_the_native_run_is_the_closed_form_without_decisions(policy):
    """Between decisions the learning rate is anchor · base · 10^residual: a straight line to zero after the rise."""
    run = PolicyFile.read(policy).load().start(4, "sgd", [(10, 2.0, 1.0)], steps=400)
    run.observe(100, losses=[], grad_sq=[], weight_norms=[], val_loss=1.0)
    rates = [run.lr_at(i) for i in range(100)]
    assert all(abs(rate / rates[0] - (300 - i) / 300) < 1e-9 for i, rate in enumerate(rates))
