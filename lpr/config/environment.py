"""Values laid over the file: environment variables (`LPR_BACKEND__TOKEN`) and credential files of systemd.

A variable is `LPR_` and the key's path in capitals, joined by two underscores. A camera goes by its id (`-` and `.`
written as `_`) or its place from 0: `LPR_CAMERAS__CAM_001__FPS`, `LPR_CAMERAS__0__FPS`. A variable that looks like a
key and is none is refused: a misspelt one must not be passed over in silence. Names without `__` are left alone, since
Kubernetes and others set such (`LPR_AGENT_SERVICE_HOST`).

A file in `$CREDENTIALS_DIRECTORY` does the same, its name the dotted path: `backend.token`, `cameras.CAM_001.source`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic.fields import FieldInfo

from lpr.config.document import KeyPath, Problem, scalar
from lpr.config.model import AgentConfig
from lpr.config.schema import is_camera_list, section_of, takes_text, unknown_key_words
from lpr.config.section import Section

PREFIX = "LPR_"
CREDENTIALS = "CREDENTIALS_DIRECTORY"


class Overlay:
    """Puts values over the raw data of a file; remembers where each came from and what could not be placed."""

    def __init__(self, data: dict[str, Any]) -> None:
        self.data = data
        self.origins: dict[KeyPath, str] = {}
        self.problems: list[Problem] = []

    def add_environment(self, environ: Mapping[str, str]) -> None:
        """Lay every `LPR_…__…` variable over the data."""
        for name in sorted(environ):
            if name.startswith(PREFIX) and "__" in name:
                self._put(name.removeprefix(PREFIX).lower().split("__"), environ[name], origin=f"${name}")

    def add_credentials(self, environ: Mapping[str, str]) -> None:
        """Lay every file of systemd's credentials directory over the data that is named like a key."""
        folder = environ.get(CREDENTIALS)
        if not folder or not Path(folder).is_dir():
            return
        for file in sorted(Path(folder).iterdir()):
            names = file.name.split(".")
            if len(names) < 2 or names[0] not in AgentConfig.model_fields or not file.is_file():
                continue  # another program's, or ours under a name that cannot be a key
            if names == ["backend", "token"]:
                # By its file, so that a rotated token is found without a restart.
                self._put(["backend", "token_file"], str(file), origin=str(file))
                continue
            try:
                self._put(names, file.read_text("utf-8").strip(), origin=str(file))
            except (OSError, UnicodeDecodeError) as error:
                self.problems.append(Problem((str(file),), f"cannot be read: {error}"))

    def _put(self, names: list[str], text: str, *, origin: str) -> None:
        try:
            target, path, field = self._place_of(names)
            as_text = section_of(field.annotation) is None and takes_text(field)
            target[str(path[-1])] = text if as_text else scalar(text)
        except ValueError as error:
            self.problems.append(Problem((origin,), str(error)))
            return
        if path in _OTHER_FORM:
            # The nearer layer wins, also over the other form of the same thing in the file.
            target.pop(_OTHER_FORM[path], None)
        self.origins[path] = origin

    def _place_of(self, names: list[str]) -> tuple[dict[str, Any], KeyPath, FieldInfo]:
        """The mapping that holds the key called by `names`, its path and its field. Raises `ValueError` with words."""
        model: type[Section] = AgentConfig
        target: dict[str, Any] = self.data
        path: KeyPath = ()
        while True:
            name, names = names[0], names[1:]
            field = model.model_fields.get(name)
            if field is None:
                raise ValueError(unknown_key_words(name, model, tuple(part for part in path if isinstance(part, str))))
            path, inner = (*path, name), section_of(field.annotation)
            if not names:
                return target, path, field
            if inner is None:
                raise ValueError(f"goes too deep: `{name}` has no keys below it")
            model = inner
            if is_camera_list(field):
                place, names = self._camera(names)
                target, path = target["cameras"][place], (*path, place)
            else:
                target = _mapping_at(target, name)

    def _camera(self, names: list[str]) -> tuple[int, list[str]]:
        """The place of the camera that `names` begin with, and the names after it; the place beyond the last is new."""
        cameras = self.data.setdefault("cameras", [])
        if not isinstance(cameras, list) or not all(isinstance(camera, dict) for camera in cameras):
            raise ValueError("names a camera, but `cameras` in the file is no list of cameras")
        wanted = _as_variable("__".join(names))
        for place, camera in enumerate(cameras):
            known = _as_variable(camera.get("id"))
            if known and wanted.startswith(f"{known}__"):
                return place, wanted.removeprefix(f"{known}__").split("__")
        if len(names) > 1 and names[0].isdigit() and int(names[0]) <= len(cameras):
            if int(names[0]) == len(cameras):
                cameras.append({})
            return int(names[0]), names[1:]
        ids = ", ".join(str(camera.get("id")) for camera in cameras) or "none"
        raise ValueError(f"must name a camera by its id or place, and one of its keys; the cameras are {ids}")


_OTHER_FORM: Mapping[KeyPath, str] = {("backend", "token"): "token_file", ("backend", "token_file"): "token"}


def _mapping_at(target: dict[str, Any], name: str) -> dict[str, Any]:
    """The mapping under `name`; an empty one is put there where the file has none."""
    if target.get(name) is None:
        target[name] = {}
    inner = target[name]
    if not isinstance(inner, dict):
        raise ValueError(f"cannot be set: `{name}` in the file is no group of keys")
    return inner


def _as_variable(name: object) -> str:
    return re.sub(r"[^a-z0-9]", "_", name.lower()) if isinstance(name, str) else ""
