"""The embedded server as a remote of the settings: started, and written where remotes are kept."""

from __future__ import annotations

from pathlib import Path

from dsmanager.errors import AlreadyExistsError, NotFoundError
from dsmanager.progress import CancelToken
from dsmanager.remotes import server
from dsmanager.remotes.server import ServerStatus
from dsmanager.settings import RemoteConfig, Settings, add_remote

__all__ = ["remote_of_server", "serve"]


def serve(
    settings: Settings, name: str, *, folder: Path | None = None, cancel: CancelToken
) -> ServerStatus:
    """Starts the server ``name`` and makes it a remote; the current one where there is none yet.

    Raises AlreadyExistsError when ``name`` is a remote that is not this server's.
    """
    state_dir = settings.state_dir
    known, remote = server.status(name, state_dir=state_dir), settings.remotes.get(name)
    if remote is not None and remote.credentials_file != known.credentials_file:
        raise AlreadyExistsError(
            f"'{name}' is a configured remote at {remote.url}",
            hint=f"give the server another name: dsmanager remote serve {name}-local",
        )
    place = folder.expanduser().absolute() if folder else None
    started = server.start(name, state_dir=state_dir, folder=place, cancel=cancel)
    add_remote(settings.config_file, remote_of_server(started), make_current=_is_first(settings))
    return started


def remote_of_server(started: ServerStatus) -> RemoteConfig:
    """The remote that a running embedded server is."""
    return RemoteConfig(
        name=started.name,
        url=f"s3://{started.bucket}",
        endpoint_url=started.endpoint_url,
        credentials_file=started.credentials_file,
    )


def _is_first(settings: Settings) -> bool:
    try:
        return settings.current_remote() is None and not settings.remotes
    except NotFoundError:
        return False
