"""Many copies of a PyTorch model that are trained together, as one task."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.func import functional_call, grad_and_value, stack_module_state, vmap
from torch.optim import SGD, Adam, AdamW, Optimizer

from lrpilot import _tensors
from lrpilot._native import ConfigError, Hyperparameters
from lrpilot._problem import Examples, LossFn, ModelFn, OptimizerFn, Problem, seeded, sgd
from lrpilot._task import Measurement
from lrpilot._values import count

__all__ = ["VectorTorchTask"]

#: One entry for each parameter, all copies stacked: `[copies, …]`.
Stacked = dict[str, Tensor]


@dataclass
class _Copies:
    """Weights and optimizer state of some copies."""

    weights: Stacked
    #: First and second moments, as far as the optimizer has them.
    moments: list[Stacked]

    def taken(self, copies: Tensor) -> "_Copies":
        """Some of the copies, on their own."""
        weights, *moments = [{name: t[copies] for name, t in each.items()} for each in self._all]
        return _Copies(weights, moments)

    def put(self, copies: Tensor, these: "_Copies") -> None:
        """Replace some of the copies."""
        for mine, other in zip(self._all, these._all, strict=True):
            for name, tensor in mine.items():
                tensor[copies] = other[name]

    @property
    def _all(self) -> list[Stacked]:
        return [self.weights, *self.moments]


class VectorTorchTask:
    """The copies of a `TorchTask`, trained together by `torch.func.vmap`: for small models, and for GPUs.

    Each copy is trained as a `TorchTask` with the same seed is, up to rounding, where nothing in the model is random.
    `lrpilot.learn` trains all of them side by side.

    Parameters
    ----------
    model_fn, data, loss, optimizer
        As for `TorchTask`. The model has no buffers that training changes (no batch normalization); the optimizer is SGD,
        Adam or AdamW.
    copies
        How many.
    batch_size, interval_steps, horizon, held_back, lr_bounds, name, device
        As for `TorchTask`.

    Raises
    ------
    ConfigError
        For a value out of its range, and a model or an optimizer that cannot be stacked.

    Examples
    --------
    >>> x = torch.randn(200, 4, generator=torch.Generator().manual_seed(0))
    >>> task = VectorTorchTask(
    ...     lambda: torch.nn.Linear(4, 1), (x, x.sum(1, keepdim=True)), torch.nn.functional.mse_loss, copies=3
    ... )
    >>> untrained = task.reset([1, 2, 3])
    >>> trained = task.advance([Hyperparameters(lr) for lr in (0.001, 0.01, 0.1)])
    >>> all(after["val_loss"] < before["val_loss"] for before, after in zip(untrained, trained))
    True
    """

    def __init__(
        self,
        model_fn: ModelFn,
        data: Examples,
        loss: LossFn,
        optimizer: OptimizerFn = sgd,
        *,
        copies: int = 20,
        batch_size: int = 32,
        interval_steps: int | None = None,
        horizon: int = 20,
        held_back: float = 0.2,
        lr_bounds: tuple[float, float] = (1e-6, 1.0),
        name: str = "torch",
        device: str | torch.device = "cpu",
    ) -> None:
        copies = count("copies", copies)
        self._problem = Problem.of(
            model_fn,
            data,
            loss,
            optimizer,
            batch_size=batch_size,
            interval_steps=interval_steps,
            horizon=horizon,
            held_back=held_back,
            lr_bounds=lr_bounds,
            name=name,
            device=device,
        )
        self.spec, self.copies = self._problem.spec, copies
        self._model = self._problem.made(0)
        if list(self._model.buffers()):
            names = ", ".join(name for name, _ in self._model.named_buffers())
            raise ConfigError(f"model_fn: the model has the buffers {names}; use TorchTask, or a model without them")
        made = optimizer(self._model.parameters())
        self._update = _update_of(made)
        names_of: dict[Tensor, str] = {parameter: name for name, parameter in self._model.named_parameters()}
        self._layers = [[names_of[tensor] for tensor in layer] for layer in _tensors.layers(made)]
        blank = {name: torch.zeros(copies, *p.shape, dtype=p.dtype, device=p.device) for p, name in names_of.items()}
        moments = [{name: t.clone() for name, t in blank.items()} for _ in range(self._update.moments)]
        self._all = _Copies(blank, moments)
        self._seeds, self._steps = [0] * copies, [0] * copies
        self._gradient = vmap(grad_and_value(self._loss_of), randomness="different")
        self._losses = vmap(self._loss_of, in_dims=(0, None, None), randomness="different")

    def reset(self, seeds: Sequence[int | None]) -> list[Measurement | None]:
        """Begin anew in each copy that is given a seed, and measure it on its first batch."""
        active = [copy for copy, seed in enumerate(seeds) if seed is not None]
        for copy in active:
            self._seeds[copy], self._steps[copy] = int(seeds[copy] or 0), 0
        weights, _ = stack_module_state([self._problem.made(self._seeds[copy]) for copy in active])
        weights = {name: tensor.detach() for name, tensor in weights.items()}
        moments = [{name: torch.zeros_like(tensor) for name, tensor in weights.items()} for _ in self._all.moments]
        these = _Copies(weights, moments)
        self._all.put(self._index(active), these)
        with seeded(self._seeds[active[0]], "probe", 0, self._problem.device):
            gradients, losses = self._gradients(weights, self._batches(active, 1)[:, 0])
        return self._measured(active, these, [losses], [self._sum_sq(gradients)])

    def advance(self, hyperparameters: Sequence[Hyperparameters | None]) -> list[Measurement | None]:
        """Train one interval of each copy that is given hyperparameters."""
        given = {copy: each.lr for copy, each in enumerate(hyperparameters) if each is not None}
        active, steps = list(given), self.spec.interval_steps
        lr = torch.tensor(list(given.values()), dtype=torch.float64, device=self._problem.device)
        done = torch.tensor([self._steps[copy] for copy in active], dtype=torch.float64, device=self._problem.device)
        index, batches = self._index(active), self._batches(active, steps)
        these = self._all.taken(index)
        losses: list[Tensor] = []
        samples: list[Tensor] = []
        with seeded(self._seeds[active[0]], "steps", self._steps[active[0]], self._problem.device):
            for i in range(steps):
                gradients, loss = self._gradients(these.weights, batches[:, i])
                losses.append(loss)
                if _tensors.is_sampled(i, len(samples), steps):
                    samples.append(self._sum_sq(gradients))
                self._update(these, gradients, done + (i + 1), lr)
        self._all.put(index, these)
        for copy in active:
            self._steps[copy] += steps
        return self._measured(active, these, losses, samples)

    def evaluate(self, copy: int) -> float:
        """Loss of a copy on the data that choose between policies."""
        return float(self._losses_on(self._all.taken(self._index([copy])), self._problem.choice)[0])

    def save(self, copy: int) -> bytes:
        """Weights, optimizer and place in the run of a copy."""
        file = io.BytesIO()
        one = self._all.taken(self._index([copy]))
        torch.save([one.weights, one.moments, [self._seeds[copy], self._steps[copy]]], file)
        return file.getvalue()

    def load(self, copy: int, state: bytes) -> None:
        """Put back what `save` gave."""
        weights, moments, place = torch.load(io.BytesIO(state), map_location=self._problem.device, weights_only=True)
        self._all.put(self._index([copy]), _Copies(weights, moments))
        self._seeds[copy], self._steps[copy] = place

    def _index(self, copies: list[int]) -> Tensor:
        return torch.tensor(copies, device=self._problem.device)

    def _batches(self, copies: list[int], steps: int) -> Tensor:
        """Indices `[copies, steps, batch_size]` of the next batches."""
        return torch.stack([self._problem.batches(self._seeds[c], self._steps[c], steps) for c in copies])

    def _loss_of(self, weights: Stacked, x: Tensor, y: Tensor) -> Tensor:
        return self._problem.loss(functional_call(self._model, weights, (x,)), y)

    def _gradients(self, weights: Stacked, batch: Tensor) -> tuple[Stacked, Tensor]:
        x, y = self._problem.train
        gradients, losses = self._gradient(weights, x[batch], y[batch])
        return gradients, losses.detach()

    def _losses_on(self, these: _Copies, examples: Examples) -> Tensor:
        self._model.eval()
        with torch.no_grad():
            losses: Tensor = self._losses(these.weights, *examples)
        self._model.train()
        return losses

    def _sum_sq(self, of: Stacked) -> Tensor:
        """`[copies, layers]`."""
        norms = {name: torch.linalg.vector_norm(t.flatten(1), dim=1, dtype=torch.float32) for name, t in of.items()}
        return torch.stack([torch.stack([norms[name].square() for name in layer]).sum(0) for layer in self._layers], 1)

    def _measured(
        self, active: list[int], these: _Copies, losses: list[Tensor], samples: list[Tensor]
    ) -> list[Measurement | None]:
        columns: list[Any] = [
            self._losses_on(these, self._problem.val),
            torch.stack(losses, 1),
            torch.stack(samples, 1),
            self._sum_sq(these.weights).sqrt(),
        ]
        measured: list[Measurement | None] = [None] * self.copies
        for copy, val, each, sq, norms in zip(active, *(column.tolist() for column in columns), strict=True):
            measured[copy] = {"val_loss": val, "losses": each, "grad_sq": sq, "weight_norms": norms}
        return measured


class _Sgd:
    """SGD with momentum on stacked weights."""

    def __init__(self, group: dict[str, Any]) -> None:
        self.momentum, self.decay, self.nesterov = group["momentum"], group["weight_decay"], group["nesterov"]
        self.moments = 1 if self.momentum else 0

    def __call__(self, these: _Copies, gradients: Stacked, step: Tensor, lr: Tensor) -> None:
        for name, weight in these.weights.items():
            gradient = gradients[name] + self.decay * weight if self.decay else gradients[name]
            if self.momentum:
                moment = these.moments[0][name].mul_(self.momentum).add_(gradient)
                gradient = gradient + self.momentum * moment if self.nesterov else moment
            weight.sub_(_rows(lr, weight) * gradient)


class _Adam:
    """Adam on stacked weights, each copy with a step of its own; AdamW where the decay is decoupled."""

    moments = 2

    def __init__(self, group: dict[str, Any], decoupled: bool) -> None:
        self.betas, self.eps, self.decay, self.decoupled = group["betas"], group["eps"], group["weight_decay"], decoupled

    def __call__(self, these: _Copies, gradients: Stacked, step: Tensor, lr: Tensor) -> None:
        first, second = (1.0 - beta**step for beta in self.betas)
        for name, weight in these.weights.items():
            gradient = gradients[name]
            if self.decoupled:
                weight.mul_(_rows(1.0 - lr * self.decay, weight))
            elif self.decay:
                gradient = gradient + self.decay * weight
            mean, square = (moments[name] for moments in these.moments)
            mean.lerp_(gradient, 1.0 - self.betas[0])
            square.mul_(self.betas[1]).addcmul_(gradient, gradient, value=1.0 - self.betas[1])
            scale = square.sqrt().div_(_rows(second.sqrt(), weight)).add_(self.eps)
            weight.sub_(_rows(lr / first, weight) * mean / scale)


def _rows(values: Tensor, like: Tensor) -> Tensor:
    """A number for each copy, for products with what is stacked."""
    return values.to(like.dtype).reshape(-1, *[1] * (like.dim() - 1))


def _update_of(optimizer: Optimizer) -> _Sgd | _Adam:
    """The same optimizer on stacked weights."""
    (group, *others), kind = optimizer.param_groups, type(optimizer)
    unusual = [name for name in ("dampening", "maximize", "amsgrad") if group.get(name)]
    if others or unusual or kind not in (SGD, Adam, AdamW):
        what = ", ".join([kind.__name__, *unusual]) + (f" with {len(others) + 1} groups" if others else "")
        raise ConfigError(f"optimizer: {what}; give SGD, Adam or AdamW with one group, or use TorchTask")
    decoupled = kind is AdamW or bool(group.get("decoupled_weight_decay"))
    return _Sgd(group) if kind is SGD else _Adam(group, decoupled)
