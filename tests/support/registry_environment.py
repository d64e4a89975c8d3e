"""A registry with one image, object storage on another port, and a client that is logged in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.emulator.server import Emulator
from tests.support.fakes import free
from tests.support.registries import open_client, write_docker_config
from webhook.deadlines import Deadline
from webhook.errors import TrustLookupError

IMAGE = "shop/signed"


@dataclass
class RegistryEnvironment:
    """A registry with one image, a client of it, and object storage on another port."""

    emulator: Emulator
    storage: Emulator
    login_file: Path
    digest: str
    blob: str = ""

    def __post_init__(self) -> None:
        self.blob = self.emulator.state.put_blob(IMAGE, b"payload")
        self.reopen()

    def reopen(self) -> None:
        """Replace the client by one that knows nothing."""
        self.client, self.transport = open_client(self.emulator.url, str(self.login_file))

    def set_password(self, password: str) -> None:
        """Change the login file."""
        write_docker_config(self.login_file, {self.emulator.url: ("robot", password)})

    def read(self, what: str, seconds: float = 5.0, repository: str = IMAGE) -> object:
        """Read something of the image, and return it, or the description of the failure."""
        deadline = Deadline.after(seconds)
        reads: dict[str, Callable[[], object]] = {
            "tag": lambda: self.client.resolve_tag(repository, "1", deadline, free),
            "manifest": lambda: self.client.get_manifest(repository, "1", deadline, free),
            "referrers": lambda: self.client.list_referrers(repository, self.digest, deadline, free),
            "blob": lambda: self.client.get_blob(repository, self.blob, 7, deadline, free),
            "login": lambda: self.client.check_login(deadline, free),
        }
        try:
            return reads[what]()
        except TrustLookupError as error:
            return f"{error.reason}, {error.fault}: {error.detail}"

    def redirect(self) -> None:
        """Let the registry redirect blobs to object storage."""
        self.emulator.state.registry.redirects_blobs_to = self.storage.url
