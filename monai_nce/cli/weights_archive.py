"""Pack weights with their licence, card and figures into one zip, and take such a zip into the store.

A zip from elsewhere is not trusted: its files go by names that are known here, and nothing appears in the store before
each of them is found to be what it says it is.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import re
import stat
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import monai_nce
from monai_nce.cli.weights_facts import CARD, LICENCE, METRICS, facts_in_words, weights_facts
from monai_nce.errors import InputError
from monai_nce.weights_store import DEFAULT, NETWORK, find_weights, store_folder

__all__ = ["check_name", "export_weights", "import_weights", "manifest_hashes", "unpack_weights"]

FORMAT = 1
MANIFEST = "manifest.json"
AUXILIARY = "auxiliary.pt"
NETWORKS, TEXTS = (NETWORK, AUXILIARY), (LICENCE, CARD, METRICS)
NEEDED = {MANIFEST, NETWORK, LICENCE, CARD}
NAMES = {*NETWORKS, *TEXTS, MANIFEST}
TEXT_BYTES = 1_000_000
EXPANSION = 20  # times the archive's own size; weights hardly shrink, and texts are few
CHUNK = 1 << 20
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
DATE = (1980, 1, 1, 0, 0, 0)  # the zip format's first: the same weights make the same file


def check_name(name: str) -> str:
    """Return a name for weights, or raise an InputError: it becomes a folder's."""
    if not NAME.fullmatch(name) or name.endswith(".") or name.lower() == DEFAULT:
        raise InputError(
            f"--name: expected letters, digits, '.', '-' or '_', at most 64, and not {DEFAULT} but got {name!r}"
        )
    return name


def export_weights(
    given: str, archive: Path, name: str | None = None, licence: str | None = None, overwrite: bool = False
) -> str:
    """Write weights and what is known of them into a zip, and return their name in it.

    Args:
        given: as :func:`~monai_nce.weights_store.find_weights` takes it.
        archive: the file to write.
        name: for the store that it will be imported into; that of the weights or of the training's folder.
        licence: of the data that they learnt from, a text or a file that holds one; what they say themselves if None.
        overwrite: replace ``archive``.

    Raises:
        InputError: if the weights are damaged, say nothing of a licence where none is given, or cannot be written.
    """
    from monai_nce.data.files.atomic import atomic_path, writing

    network = find_weights(given)
    if archive.exists() and not overwrite:
        raise InputError(f"{archive}: exists already; --overwrite replaces it")
    name = check_name(name or _usual_name(given, network))
    facts = weights_facts(network)
    if licence is not None:
        try:
            text = Path(licence).read_text(encoding="utf-8") if Path(licence).is_file() else licence
        except UnicodeDecodeError as error:
            raise InputError(f"{licence}: expected a text in UTF-8") from error
    else:
        text = facts["licence"] or ""
    if not text.strip():
        raise InputError(f"{network}: does not say under which licence its data is: give --licence, a text or a file")
    facts["licence"] = text
    contents: dict[str, bytes] = {NETWORK: network.read_bytes()}
    if facts["auxiliary"]:
        contents[AUXILIARY] = Path(facts["auxiliary"]).read_bytes()
    contents[LICENCE] = f"{text.strip()}\n".encode()
    contents[CARD] = (facts["card"] or _card(name, facts)).encode()
    if facts["figures"] and "about" in facts["figures"]:
        contents[METRICS] = _json(facts["figures"])
    manifest = {
        "format": FORMAT,
        "name": name,
        "version": monai_nce.__version__,
        "trained_for": _trained_for(network),
        "files": {file: hashlib.sha256(content).hexdigest() for file, content in contents.items()},
    }
    with writing(archive), atomic_path(archive) as partial, zipfile.ZipFile(partial, "w") as zipped:
        for file, content in {MANIFEST: _json(manifest), **contents}.items():
            entry = zipfile.ZipInfo(file, DATE)
            entry.external_attr = (stat.S_IFREG | 0o644) << 16
            zipped.writestr(entry, content)
    return name


def import_weights(archive: Path, name: str | None = None, overwrite: bool = False) -> Path:
    """Take weights from a zip into the store, whole or not at all, and return their folder.

    Args:
        archive: as :func:`export_weights` writes it.
        name: in the store, if not that in the archive.
        overwrite: replace weights of that name.

    Raises:
        InputError: if anything in the archive is not as it should be, or the name is taken.
    """
    from monai_nce.data.files.atomic import atomic_folder, writing

    if name is not None:
        check_name(name)
    manifest = _open(archive)
    folder = store_folder() / check_name(name or manifest["name"])
    if folder.exists() and not overwrite:
        raise InputError(f"{folder.name}: the store has weights of this name; give another --name, or --overwrite")
    with writing(folder), atomic_folder(folder) as partial:
        unpack_weights(archive, partial)
    return folder


def manifest_hashes(folder: Path) -> dict[str, Any]:
    """Return the SHA-256 of the files in a folder of the store as they were imported; empty if it is another folder."""
    try:
        files = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["files"]
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return files if isinstance(files, dict) else {}


def unpack_weights(archive: Path, folder: Path) -> None:
    """Unpack an archive of weights into an empty folder, and check each file; leaves an unusable folder on a fault.

    Raises:
        InputError: naming the archive and what is wrong with it.
    """
    manifest = _open(archive)
    (folder / MANIFEST).write_bytes(_json(manifest))
    with _reading(archive), zipfile.ZipFile(archive) as zipped:
        for file, expected in manifest["files"].items():
            digest = hashlib.sha256()
            with zipped.open(file) as source, open(folder / file, "xb") as target:
                while block := source.read(CHUNK):
                    digest.update(block)
                    target.write(block)
            if digest.hexdigest() != expected:
                raise InputError(f"{archive}: {file} is not the file that was exported: its SHA-256 differs")
        for file in set(TEXTS) & set(manifest["files"]):
            (folder / file).read_text(encoding="utf-8")
    for file in set(NETWORKS) & set(manifest["files"]):
        _check_network(archive, folder / file)
    if _trained_for(folder / NETWORK) != manifest.get("trained_for"):
        raise InputError(f"{archive}: its {MANIFEST} and {NETWORK} say different things about what it was trained for")


def _open(archive: Path) -> dict[str, Any]:
    """Check an archive's table of contents, and return its manifest."""
    try:
        with _reading(archive), zipfile.ZipFile(archive) as zipped:
            entries = zipped.infolist()
            _check_entries(archive, entries)
            manifest = json.loads(zipped.read(MANIFEST))
            names = {entry.filename for entry in entries} - {MANIFEST}
            if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
                raise InputError(
                    f"{archive}: expected an archive of weights of format {FORMAT}; is monai-nce too old for it?"
                )
            files = manifest.get("files")
            if not isinstance(files, dict) or set(files) != names or not isinstance(manifest.get("name"), str):
                raise InputError(f"{archive}: its {MANIFEST} names other files than it holds")
    except OSError as error:
        raise InputError(f"{archive}: cannot be read: {error.strerror}") from error
    return manifest


def _check_entries(archive: Path, entries: list[zipfile.ZipInfo]) -> None:
    names = [entry.filename for entry in entries]
    for entry in entries:
        mode = entry.external_attr >> 16
        if entry.filename not in NAMES or entry.is_dir() or (stat.S_IFMT(mode) not in (0, stat.S_IFREG)):
            raise InputError(
                f"{archive}: expected plain files {', '.join(sorted(NAMES))} alone but got {entry.filename!r}"
            )
        if entry.filename not in NETWORKS and entry.file_size > TEXT_BYTES:
            raise InputError(f"{archive}: {entry.filename} is too large")
    if len(set(names)) != len(names):
        raise InputError(f"{archive}: holds a file twice")
    if missing := NEEDED - set(names):
        raise InputError(f"{archive}: expected an archive of weights but it has no {', '.join(sorted(missing))}")
    if sum(entry.file_size for entry in entries) > EXPANSION * archive.stat().st_size:
        raise InputError(f"{archive}: would unpack to more than {EXPANSION} times its size")


def _check_network(archive: Path, file: Path) -> None:
    """Refuse a file that is no state dict, or one whose tensors are not finite or larger than the file."""
    import torch

    from monai_nce.handlers.weights.state_file import read_state_dict

    size = file.stat().st_size
    try:
        with _reading(file), zipfile.ZipFile(file) as inner:
            if sum(entry.file_size for entry in inner.infolist()) > size:
                raise InputError(f"{file}: would unpack to more than its size")
        for name, value in read_state_dict(file).items():
            if value.numel() * value.element_size() > size:
                raise InputError(f"{file}: {name} is larger than the file")
            if value.is_floating_point() and not torch.isfinite(value).all():
                raise InputError(f"{file}: {name} holds NaN or Inf")
    except InputError as error:
        raise InputError(f"{archive}: {str(error).replace(str(file), file.name)}") from error


@contextlib.contextmanager
def _reading(archive: Path) -> Iterator[None]:
    """Turn what a damaged archive leads to, of many kinds, into an InputError; a full disk stays what it is."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno != errno.EINVAL:  # of a position that the archive says
            raise
        raise InputError(f"{archive}: not a readable archive of weights: damaged") from error


def _trained_for(network: Path) -> Any:
    from monai_nce.handlers.weights.trained_for import TrainedFor

    return json.loads(json.dumps(TrainedFor.read(network).plain()))


def _usual_name(given: str, network: Path) -> str:
    if given == DEFAULT:
        return f"monai-nce-{monai_nce.__version__}"
    folder = network.resolve().parent
    folder = folder.parent if folder.name == "models" else folder
    return re.sub(r"[^A-Za-z0-9._-]+", "_", folder.name).strip("._-")[:64] or "weights"


def _card(name: str, facts: Mapping[str, Any]) -> str:
    words = facts_in_words({**facts, "path": NETWORK})
    lines = [
        f"# {name}",
        "",
        "Weights for monai-nce. **Research use only: not a medical device, never for diagnosis.**",
        "",
    ]
    for about, text in words.items():
        lines += [f"**{about[0].upper()}{about[1:]}**", "", *(f"    {line}" for line in text.splitlines()), ""]
    return "\n".join(lines)


def _json(content: Any) -> bytes:
    return (json.dumps(content, indent=2) + "\n").encode()
