"""Where a policy comes from."""

import hashlib
import os
from dataclasses import dataclass

from lrpilot._native import Policy, pretrained_file, pretrained_names


@dataclass(frozen=True)
class PolicyFile:
    """The content of a policy file: small enough to travel with a pickled schedule."""

    place: str
    data: bytes

    @classmethod
    def read(cls, policy: str | os.PathLike[str]) -> "PolicyFile":
        """The policy of that name that comes with the package (`"pretrained"`: the newest), or of that path."""
        names = pretrained_names()
        name = names[0] if policy == "pretrained" else policy
        if name in names:
            return cls(str(name), pretrained_file(str(name)))
        with open(policy, "rb") as file:
            return cls(os.fspath(policy), file.read())

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.data).hexdigest()

    def load(self) -> Policy:
        return Policy(self.data, self.place)
