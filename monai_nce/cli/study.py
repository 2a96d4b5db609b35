"""``nce study``: let physicians grade images without knowing which method made them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from monai_nce.errors import InputError

__all__ = ["study"]

PORT = 8321

study = typer.Typer(
    help="Reader study: physicians grade images, blinded to the method. Research use only.", no_args_is_help=True
)
Folder = Annotated[Path, typer.Argument(metavar="STUDY", help="Folder of the study.")]
KeepPatientData = Annotated[
    bool,
    typer.Option("--keep-patient-data", help="Call cases as their files are called; that may hold a patient's name."),
]


def _as_methods(given: list[str]) -> dict[str, str]:
    named: dict[str, str] = {}
    for one in given:
        name, equals, folder = one.partition("=")
        if not (name and equals and folder):
            raise InputError(f"{one}: expected NAME=FOLDER, such as cycle=results/cycle")
        if name in named:
            raise InputError(f"{name}: is named twice")
        named[name] = folder
    return named


@study.command()
def new(
    cases: Annotated[str, typer.Option(metavar="DIR", help="Folder of the non-contrast scans.")],
    methods: Annotated[
        list[str],
        typer.Option(
            "--methods",
            "--method",
            metavar="NAME=FOLDER",
            help="A method and the folder of its results, called as the scans are, or as nce enhance calls them. "
            "Once for each method.",
        ),
    ],
    folder: Annotated[Path, typer.Option("--output", "-o", metavar="STUDY", help="Folder of the new study.")],
    readers: Annotated[int, typer.Option(min=1, max=50, metavar="N", help="How many readers.")] = 2,
    seed: Annotated[int, typer.Option(metavar="N", help="Of the readers' random orders.")] = 0,
    repeats: Annotated[
        float,
        typer.Option(
            min=0,
            max=0.5,
            metavar="SHARE",
            help="Share of the images that a reader grades twice, for how well they agree with themselves; 0 to 0.5.",
        ),
    ] = 0.2,
    real: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="The one of --methods that holds real images; scans may lack one.", show_default=False
        ),
    ] = None,
    ask_real: Annotated[bool, typer.Option("--ask-real", help="Ask of each image if it looks real.")] = False,
) -> None:
    """Make a study: blinded copies of all images, and for each reader a random order and a secret.

    Images lie on the grids of their scans. The secrets are printed once and kept nowhere.

    Example: nce study new --cases scans --methods ours=ours --methods cycle=cycle -o study
    """
    from monai_nce.study.create import create_study
    from monai_nce.study.database import Study

    tokens = create_study(folder, cases, _as_methods(methods), readers, seed, repeats, real, ask_real)
    made = Study(folder)
    about = made.about
    print(
        f"{folder}: {len(about['cases'])} scans, {len(about['methods'])} methods, {made.planned()[1]} images to grade "
        "for each reader, repeats included. Research use only."
    )
    for reader, token in enumerate(tokens, start=1):
        print(f"reader {reader}: {_address('127.0.0.1', PORT, token)}")
    print(f"These addresses are shown this once. Start the pages with: nce study serve {folder}")


@study.command()
def serve(
    folder: Folder,
    host: Annotated[
        str, typer.Option(metavar="ADDRESS", help="Address of this machine on which to answer.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, metavar="N", help="Port; 0 takes a free one.")] = PORT,
    name: Annotated[
        list[str] | None,
        typer.Option(
            metavar="HOST", help="Name by which readers call this machine, beside ADDRESS.", show_default=False
        ),
    ] = None,
    certificate: Annotated[
        str | None, typer.Option(metavar="FILE.pem", help="Certificate, for https.", show_default=False)
    ] = None,
    key: Annotated[
        str | None, typer.Option(metavar="FILE.pem", help="The certificate's key.", show_default=False)
    ] = None,
) -> None:
    """Serve the pages on which readers grade, until Ctrl-C. A grade is on disk before the next image appears.

    Example: nce study serve study
    """
    from monai_nce.study.database import Study

    with _extra():
        from monai_nce.study.server import LOOPBACK, listen, serve

    opened = Study(folder)
    if (certificate is None) != (key is None):
        raise InputError("expected --certificate and --key together")
    for file in filter(None, (certificate, key)):
        if not Path(file).is_file():
            raise InputError(f"{file}: no such file")
    taken = listen(host, port)
    port = taken.getsockname()[1]
    if host not in LOOPBACK:
        plain = "" if certificate else " Images, grades and secrets cross the network in the clear: give --certificate."
        print(f"WARNING: whoever reaches {host}:{port} can open this study's sign-in page.{plain}", file=sys.stderr)
    print(f"{_address(host, port, '', bool(certificate))}: readers open their own address there. Ctrl-C ends.")
    sys.stdout.flush()
    serve(opened, taken, (*LOOPBACK, host, *(name or ())), certificate, key)


@study.command()
def token(
    folder: Folder,
    reader: Annotated[int, typer.Option(min=1, metavar="N", help="Number of the reader.")],
) -> None:
    """Give a reader another secret, and end the old one.

    Example: nce study token study --reader 2
    """
    from monai_nce.study.database import Study

    print(f"reader {reader}: {_address('127.0.0.1', PORT, Study(folder).new_token(reader))}")


@study.command()
def status(folder: Folder) -> None:
    """Say how far the readers are."""
    from monai_nce.study.database import Study

    opened = Study(folder)
    for reader in opened.readers:
        place = opened.place(reader)
        print(f"reader {reader}: {place.done} of {place.total} images graded")


@study.command()
def analyse(
    folder: Folder,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Folder of the results.")],
    keep_patient_data: KeepPatientData = False,
) -> None:
    """Compare the methods and the readers: the paper's Fig. 7, tests, agreement, a page, and the grades as CSV.

    Example: nce study analyse study -o analysis
    """
    from monai_nce.study.database import Study

    with _extra():
        from monai_nce.study.analyse import analyse_study

    found = analyse_study(Study(folder), output, keep_patient_data)
    for one in found["readers"]:
        if one["graded"] < one["planned"]:
            print(f"WARNING: reader {one['reader']} has graded {one['graded']} of {one['planned']}", file=sys.stderr)
    for one in found["grades"]:
        mean = "no grade" if one["mean"] is None else f"mean {one['mean']:.2f} of {one['count']} grades"
        print(f"{one['criterion']}, {one['method']}: {mean}")
    print(f"{output / 'report.html'}, with grades.png, grades.svg, grades.csv, analysis.json. Research use only.")


@study.command()
def export(
    folder: Folder,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="A .csv or .json file.")],
    keep_patient_data: KeepPatientData = False,
) -> None:
    """Write all grades, with numbers in place of readers and cases.

    Example: nce study export study -o grades.csv
    """
    from monai_nce.study.database import Study

    with _extra():
        from monai_nce.study.analyse import export_grades

    print(f"{output}: {export_grades(Study(folder), output, keep_patient_data)} grades. Research use only.")


@contextmanager
def _extra() -> Iterator[None]:
    """Say how a package is installed that only studies need."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise InputError(f'{error.name} is not installed: pip install "monai-nce[study]"') from error


def _address(host: str, port: int, token: str, secure: bool = False) -> str:
    """Write where a page is; a secret stands behind #, which browsers do not send."""
    shown = f"[{host}]" if ":" in host else host
    return f"http{'s' * secure}://{shown}:{port}/{'#' * bool(token)}{token}"
