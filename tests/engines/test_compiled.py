from __future__ import annotations

import importlib.util

import pytest
import torch

from monai_nce.engines import Precision, bare, compiled, parallel
from monai_nce.errors import InputError
from monai_nce.networks import DomainClassifier


@pytest.fixture
def without_inductor(monkeypatch):
    """Compilation as such, without the minute that generating code takes."""
    counts = []

    def backend(graph, inputs):
        counts.append(len(inputs))
        return graph.forward

    compile_ = torch.compile
    monkeypatch.setattr(torch, "compile", lambda model, *args, **kwargs: compile_(model, backend=backend))
    module_compile = torch.nn.Module.compile
    monkeypatch.setattr(torch.nn.Module, "compile", lambda self: module_compile(self, backend=backend))
    return counts


def test_weights_keep_their_names_and_passes_run_compiled(kit, batch, without_inductor):
    plain, made = kit(3), kit(3)
    network = parallel(made.network, "cpu", compile=True)
    assert bare(network) is network is made.network
    assert list(network.state_dict()) == list(plain.network.state_dict())
    with Precision("fp32").autocast():
        torch.testing.assert_close(network(batch["source"]), plain.network(batch["source"]))
    assert len(without_inductor) == 1


def test_the_perceptual_networks_features_are_compiled_too(kit, batch, without_inductor):
    plain, made = kit(3), kit(3)
    classifier = compiled(made.classifier, "cpu")
    assert isinstance(classifier, DomainClassifier)
    expected = plain.rec.perceptual_loss(batch["source"], batch["target"])
    torch.testing.assert_close(made.rec.perceptual_loss(batch["source"], batch["target"]), expected)
    assert without_inductor
    assert list(classifier.state_dict()) == list(plain.classifier.state_dict())


def test_a_missing_compiler_is_said_in_one_line_before_anything_runs(kit, monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(InputError, match=r"C\+\+ compiler \(no-such-compiler\)"):
        parallel(kit(3).network, "cpu", compile=True)


def test_on_a_gpu_triton_is_needed(kit, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match="Triton"):
        compiled(kit(3).network, "cuda:0")


def test_on_a_gpu_a_c_compiler_is_needed_too(kit, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)
    monkeypatch.setenv("CC", "no-such-compiler")
    with pytest.raises(InputError, match=r"a C compiler \(no-such-compiler\).* of type cuda"):
        compiled(kit(3).network, "cuda:0")
