"""Norms of weights and gradients, layer by layer, on whatever device they are."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from lrpilot._native import ConfigError
from lrpilot._values import number

Layers = list[list[Tensor]]

#: Steps of an interval in which gradients are looked at.
SAMPLES = 16


def is_sampled(i: int, samples: int, steps: int) -> bool:
    """Whether to look at the gradients of step `i` of an interval of about `steps`, after `samples` looks.

    It goes by counters alone, so that all processes and resumed runs look at the same steps.

    >>> [i for i in range(100) if is_sampled(i, i // 6, 100)]
    [0, 6, 12, 18, 24, 30, 36, 42, 48, 54, 60, 66, 72, 78, 84, 90]
    """
    return i % max(1, steps // SAMPLES) == 0 and samples < SAMPLES


def layers(optimizer: Optimizer) -> Layers:
    """The trained tensors of an optimizer, a weight and its bias together, scale and shift of a normalization together.

    An optimizer does not know modules, so the order and the shapes have to do: of the vectors that follow a matrix, the
    first is its bias if their number is odd and its length fits.

    >>> model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.LayerNorm(4), torch.nn.Linear(4, 2))
    >>> [[tuple(t.shape) for t in layer] for layer in layers(torch.optim.SGD(model.parameters()))]
    [[(4, 3), (4,)], [(4,), (4,)], [(2, 4), (2,)]]
    """
    found: Layers = []
    for group in optimizer.param_groups:
        vectors: list[Tensor] = []
        for tensor in group["params"]:
            if not tensor.requires_grad:
                continue
            if tensor.dim() < 2:
                vectors.append(tensor)
                continue
            _attach(vectors, found)
            vectors = []
            found.append([tensor])
        _attach(vectors, found)
    return found


def _attach(vectors: list[Tensor], found: Layers) -> None:
    """Move the vectors to the layers that they belong to."""
    if len(vectors) % 2 == 1 and found and len(found[-1]) == 1 and vectors[0].numel() in found[-1][0].shape[:2]:
        found[-1].append(vectors.pop(0))
    while vectors:
        pair = len(vectors) > 1 and vectors[0].shape == vectors[1].shape
        count = 2 if pair else 1
        found.append(vectors[:count])
        del vectors[:count]


def gradient_sq(of: Layers, optimizer: Optimizer) -> Tensor:
    """Σg² of each layer, and a last entry that is 0 where the step will be made.

    A fused optimizer gets gradients that are still scaled, and skips the step by itself if one of them is not finite.
    """
    total = _sum_sq([tensor.grad for tensor in layer if tensor.grad is not None] for layer in of)
    scale: Tensor | None = getattr(optimizer, "grad_scale", None)
    if scale is not None:
        total = total / scale.to(total.device).square()
    skipped: Tensor | None = getattr(optimizer, "found_inf", None)
    flag = total.new_zeros(1) if skipped is None else skipped.to(total).reshape(1)
    return torch.cat([total, flag])


def weight_norms(of: Layers) -> list[float]:
    """‖w‖ of each layer."""
    norms: list[float] = _sum_sq(of).sqrt().tolist()
    return norms


def _sum_sq(of: Iterable[Sequence[Tensor]]) -> Tensor:
    norms = [[_norm(tensor) for tensor in layer] for layer in of]
    device = next((norm.device for layer in norms for norm in layer), torch.device("cpu"))
    zero = torch.zeros((), device=device)
    totals = [sum((norm.to(zero).square() for norm in layer), zero) for layer in norms]
    return torch.stack(totals) if totals else zero[None][:0]


def _norm(tensor: Tensor) -> Tensor:
    """In single precision: the squares of 16-bit numbers overflow. Of a sharded tensor, that of the whole."""
    tensor = tensor.detach()
    if tensor.is_sparse:
        tensor = tensor.coalesce().values()
    if tensor.is_complex():
        tensor = torch.view_as_real(tensor)
    return _whole(torch.linalg.vector_norm(tensor, dtype=torch.promote_types(tensor.dtype, torch.float32)))


def scalar(value: Any) -> Tensor | float:
    """A loss or a norm by itself; a sharded one, as clipping returns it, is a part of the whole.

    >>> scalar(torch.tensor([1, 2])), scalar(3)
    (tensor(1.5000), 3.0)
    """
    if isinstance(value, Tensor):
        whole = _whole(value).detach()
        return (whole if whole.is_floating_point() else whole.float()).mean()
    plain = number(value)
    if plain is None:
        raise ConfigError(f"loss: {value!r} is neither a tensor nor a number; give the loss of the batch, or its norm")
    return plain


def _whole(value: Tensor) -> Tensor:
    """What the processes hold parts of, put together; other tensors as they are."""
    full: Callable[[], Tensor] | None = getattr(value, "full_tensor", None)
    return value if full is None else full()
