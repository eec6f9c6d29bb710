from collections.abc import Callable, Sequence
from typing import Literal, final

__all__ = [
    "ConfigError",
    "DataError",
    "Environments",
    "Guard",
    "Hyperparameters",
    "PanicException",
    "Policy",
    "Run",
    "__version__",
    "do_parts",
    "learn",
    "pretrained_file",
    "pretrained_names",
]
__version__: str

class ConfigError(ValueError): ...
class DataError(ValueError): ...
class PanicException(BaseException): ...

def learn(
    copies: object,
    spec: object,
    count: int,
    *,
    saves: bool,
    evaluates: bool,
    budget: int,
    seed: int,
    folder: str | None,
    settings: Sequence[str],
    progress: Callable[[int, int, float | None], object] | None,
    elsewhere: Callable[[bytes, list[bytes]], list[bytes]] | None = None,
) -> tuple[bytes, float | None]: ...
def do_parts(
    copies: object, spec: object, *, evaluates: bool, settings: Sequence[str], common: bytes, parts: Sequence[bytes]
) -> list[bytes]: ...
def pretrained_names() -> list[str]: ...
def pretrained_file(name: str) -> bytes: ...

@final
class Environments:
    def __new__(
        cls, task: str, count: int, formulation: str, settings: Sequence[str], data: str | None
    ) -> Environments: ...
    @property
    def observation_bounds(self) -> tuple[list[float], list[float]]: ...
    @property
    def action_bounds(self) -> tuple[list[float], list[float]]: ...
    def reset(self, seeds: Sequence[int]) -> bytearray: ...
    def step(
        self, actions: bytes, seeds: Sequence[int | None]
    ) -> tuple[bytearray, bytearray, bytearray, bytearray, bytearray]: ...

@final
class Hyperparameters:
    def __new__(cls, lr: float) -> Hyperparameters: ...
    @property
    def lr(self) -> float: ...

@final
class Guard:
    def __new__(cls, settings: str) -> Guard: ...
    def step(
        self, step: int, loss: float, grad_norm: float | None = None
    ) -> Literal["healthy", "roll-back", "give-up"]: ...
    @property
    def lr_factor(self) -> float: ...
    @property
    def is_calm(self) -> bool: ...
    def snapshot_taken(self, step: int) -> bool: ...
    def drain_events(self) -> list[str]: ...
    def state(self) -> str: ...
    def set_state(self, state: str) -> None: ...

@final
class Policy:
    def __new__(cls, data: bytes, place: str) -> Policy: ...
    def start(
        self,
        total: int,
        optimizer: str,
        groups: Sequence[tuple[int, float, float]],
        *,
        momentum: float = 0.0,
        bounds: tuple[float, float] | None = None,
        steps: int | None = None,
        examples: int | None = None,
        batch_size: int | None = None,
        free: bool = False,
        train_loss: float | None = None,
        val_loss: float | None = None,
        lr: float | None = None,
    ) -> Run: ...
    def resume(self, state: str) -> Run: ...

@final
class Run:
    def lr_at(self, i: int) -> float: ...
    def steps_to_decision(self) -> int | None: ...
    def observe(
        self,
        steps: int,
        *,
        losses: Sequence[float],
        grad_sq: Sequence[Sequence[float]],
        weight_norms: Sequence[float],
        train_loss: float | None = None,
        val_loss: float | None = None,
        grad_norms: Sequence[float] | None = None,
    ) -> bool: ...
    def explain(self) -> str | None: ...
    def extend(self, total: int) -> None: ...
    def state(self) -> str: ...
