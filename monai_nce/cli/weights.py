"""``nce weights``: list, show, pack and take in weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from monai_nce.cli.options import AsJson
from monai_nce.errors import InputError

__all__ = ["weights"]

weights = typer.Typer(help="List, show, export and import weights.", no_args_is_help=True)


@weights.command("list")
def list_weights(as_json: AsJson = False) -> None:
    """List the weights that have a name: those that ship and those that were imported."""
    from monai_nce.cli.weights_facts import facts_in_words, weights_facts
    from monai_nce.weights_store import named_weights

    rows = []
    for name, network in named_weights().items():
        row: dict[str, Any] = {"name": name, "path": str(network)}
        try:
            facts = weights_facts(network)
            words = facts_in_words(facts)
            row.update(
                source=facts["source"], target=facts["target"], pixels=words["pixels"], data=words["learnt from"]
            )
        except InputError as error:
            row["fault"] = str(error)
        rows.append(row)
    if as_json:
        print(json.dumps(rows, indent=2))
        return
    for row in rows:
        if "fault" in row:
            print(f"{row['name']}: {row['fault']}")
        else:
            print(_plain(f"{row['name']}: {row['source']} to {row['target']}, {row['pixels']}; {row['data']}"))


@weights.command()
def show(
    name_or_path: Annotated[
        str,
        typer.Argument(metavar="NAME|PATH", help="A name, a network's file, a training's folder, or an exported zip."),
    ],
    as_json: AsJson = False,
) -> None:
    """Show what weights are for, what they learnt from, under which licence, and how good they are."""
    import tempfile

    from monai_nce.cli.weights_archive import unpack_weights
    from monai_nce.cli.weights_facts import weights_facts
    from monai_nce.weights_store import NETWORK, find_weights, named_weights

    path = Path(name_or_path)
    if path.suffix.lower() == ".zip" and name_or_path not in named_weights():
        with tempfile.TemporaryDirectory() as folder:
            unpack_weights(path, Path(folder))
            facts = weights_facts(Path(folder) / NETWORK)
        for key in ("path", "auxiliary"):
            facts[key] = facts[key] and facts[key].replace(folder, str(path))
    else:
        facts = weights_facts(find_weights(name_or_path))
    if as_json:
        print(json.dumps(facts, indent=2))
    else:
        _print_facts(facts)


@weights.command("export")
def export_(
    name_or_path: Annotated[
        str, typer.Argument(metavar="NAME|PATH", help="A name, a network's file, or a training's folder.")
    ],
    archive: Annotated[Path, typer.Option("--output", "-o", metavar="FILE.zip", help="The zip to write.")],
    name: Annotated[str | None, typer.Option(help="What the weights are called where they are imported.")] = None,
    licence: Annotated[
        str | None, typer.Option(help="Licence of the data that they learnt from: a text, or a file that holds it.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the zip.")] = False,
) -> None:
    """Write weights with licence, model card and figures into one zip, to give to others."""
    from monai_nce.cli.weights_archive import export_weights

    called = export_weights(name_or_path, archive, name, licence, overwrite)
    print(
        f"{archive}: {called}, {archive.stat().st_size / 1e6:.1f} MB; others take it in with: nce weights import FILE"
    )


@weights.command("import")
def import_(
    archive: Annotated[Path, typer.Argument(metavar="FILE.zip", help="A zip that `nce weights export` wrote.")],
    name: Annotated[str | None, typer.Option(help="What to call them here, if not as in the zip.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace weights of that name.")] = False,
) -> None:
    """Check a zip of weights and take it in; then `--weights NAME` uses them."""
    from monai_nce.cli.weights_archive import import_weights
    from monai_nce.cli.weights_facts import weights_facts
    from monai_nce.weights_store import NETWORK

    folder = import_weights(archive, name, overwrite)
    _print_facts(weights_facts(folder / NETWORK))
    print(f"use them with: nce enhance --weights {folder.name}")


def _print_facts(facts: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from monai_nce.cli.weights_facts import facts_in_words

    table = Table.grid(padding=(0, 2))
    for about, text in facts_in_words(facts).items():
        table.add_row(about, Text(_plain(text), overflow="fold"))
    Console(markup=False, highlight=False, soft_wrap=False).print(table)


def _plain(text: str) -> str:
    """Leave out control characters: these texts may come from elsewhere, and a terminal obeys some."""
    return "".join(character if character.isprintable() or character == "\n" else " " for character in text)
