"""Check what a federation of two sites has made: means of the sites' weights, and inference on a real scan."""

import argparse
import json
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import torch
from monai.bundle import ConfigWorkflow

from monai_nce.bundle_folder import bundle_folder
from monai_nce.errors import InputError
from monai_nce.federated import NETWORKS
from monai_nce.phantom import write_phantom_dataset

PATIENTS = {"site-1": 4, "site-2": 6}
SLICES = 4


def make_data(folder: Path) -> None:
    """Make the sites' data sets, of different sizes: phantoms of 64 x 64 x 4."""
    for seed, (name, patients) in enumerate(PATIENTS.items(), 1):
        write_phantom_dataset(folder / name, patients=patients, size=64, slices=SLICES, seed=seed, progress=False)


def check_means(data: Path, out: Path) -> None:
    """Compare the weights of every stage with the mean of the sites' last ones, by numbers of slice stacks."""
    stacks = {}
    for name in PATIENTS:
        items = json.loads((data / name / "datalist.json").read_text(encoding="utf-8"))["training"]
        stacks[name] = SLICES * len(items)
    if len(set(stacks.values())) == 1:
        raise InputError(f"{data}: expected sites of different sizes but got {stacks}")
    for stage, files in NETWORKS.items():
        for file in files:
            whole = _weights(out / "global" / file)
            sites = {name: _weights(out / name / stage / "models" / file) for name in stacks}
            for key, value in whole.items():
                mean = sum(stacks[name] * sites[name][key] for name in stacks) / sum(stacks.values())
                if not torch.allclose(value, mean, rtol=0, atol=1e-6):
                    raise InputError(f"{file}: {key}: expected the mean of the sites' but got another tensor")
            one, other = sites.values()
            if all(torch.equal(one[key], other[key]) for key in one):
                raise InputError(f"{file}: expected other weights from each site but got equal ones")
            print(f"{file}: the mean of the sites', weighted by {' and '.join(map(str, stacks.values()))} slice stacks")
    # the same mean, made here: inference with it has to give the same voxels
    by_hand = torch.load(out / "global" / "model.pt", weights_only=True)
    for key in _weights(out / "global" / "model.pt"):
        values = [stacks[name] * _weights(out / name / "stage2" / "models" / "model.pt")[key] for name in stacks]
        by_hand[key] = (sum(values) / sum(stacks.values())).to(by_hand[key].dtype)
    torch.save(by_hand, out / "by_hand.pt")


def check_inference(out: Path, scan: Path) -> None:
    """Enhance a scan by the bundle's ``inferring``, with the federation's weights and with the mean made by hand."""
    images = []
    for weights in (out / "global" / "model.pt", out / "by_hand.pt"):
        folder = out / "inference" / weights.stem
        workflow = ConfigWorkflow(
            config_file=str(bundle_folder() / "configs" / "inference.json"),
            workflow_type="inference",
            logging_file=False,
            input=str(scan),
            output_dir=str(folder),
            checkpoint=str(weights),
            backend="torch",
            precision="fp32",
            stride=3,
        )
        workflow.initialize()
        workflow.run()
        (image,) = folder.rglob("*synthetic_cect.nii.gz")
        images.append(np.asanyarray(nib.load(image).dataobj))
    hu = np.asanyarray(nib.load(scan).dataobj)
    if images[0].shape != hu.shape or np.array_equal(images[0], hu):
        raise InputError(f"{scan}: expected a synthetic scan of {hu.shape} but got {images[0].shape}, or no change")
    most = float(np.abs(images[0].astype(float) - images[1]).max())
    if most > 1:
        raise InputError(f"{scan}: expected the same from the mean made by hand but got up to {most:g} HU more or less")
    print(f"inference on {scan.name}, {hu.shape}: as with the mean made by hand, at most {most:g} HU apart")


def _weights(path: Path) -> dict[str, torch.Tensor]:
    weights = torch.load(path, weights_only=True)
    # less batch norm's counters, whole numbers that nothing reads
    return {key: value.double() for key, value in weights.items() if value.is_floating_point()}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("step", choices=["data", "result"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--scan", type=Path)
    args = parser.parse_args()
    if args.step == "data":
        make_data(args.folder / "data")
    else:
        check_means(args.folder / "data", args.folder / "federated")
        check_inference(args.folder / "federated", args.scan)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except InputError as error:
        sys.exit(f"error: {error}")
