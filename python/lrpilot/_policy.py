"""Where a policy comes from."""

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lrpilot._native import ConfigError, Policy, pretrained_file, pretrained_names


@dataclass(frozen=True)
class PolicyFile:
    """The content of a policy file: small enough to travel with a pickled schedule."""

    place: str
    data: bytes

    @classmethod
    def read(cls, policy: str | os.PathLike[str]) -> "PolicyFile":
        """The policy of that name that comes with the package (`"pretrained"`: the newest), or of that path."""
        names = pretrained_names()
        if not isinstance(policy, (str, os.PathLike)):
            raise ConfigError(f"policy: {policy!r} is neither a name nor a path; give one of {names}, or a policy file")
        name = names[0] if policy == "pretrained" else os.fspath(policy)
        if name in names:
            return cls(name, pretrained_file(name))
        try:
            with open(name, "rb") as file:
                return cls(name, file.read())
        except (FileNotFoundError, IsADirectoryError) as error:
            message = f"policy: {name!r} is not a file, and none of {names}, which come with lrpilot; give one of them"
            raise FileNotFoundError(message) from error

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.data).hexdigest()

    def load(self) -> Policy:
        return Policy(self.data, self.place)

    def check(self, state: Any, form: int) -> None:
        """Refuse what is not the state of a schedule of this form with this policy."""
        found = state.get("format") if isinstance(state, Mapping) else type(state).__name__
        if found != form:
            raise ConfigError(f"state_dict: format {found} is not {form}; load what LearnedLR saved")
        if (saved := state.get("policy")) != self.sha256:
            message = f"state_dict: saved with the policy {str(saved)[:12]}…, not with {self.place}"
            raise ConfigError(f"{message}; give policy= the file of the saved run")
