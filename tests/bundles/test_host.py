"""A host that runs the bundle's parts by itself, as MONAI Label does, gets the bundle's own result."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import torch
from monai.bundle import ConfigParser

from monai_nce.handlers import load_weights
from monai_nce.phantom import write_phantom_dataset


def test_a_host_that_saves_by_itself_gets_the_same_volume_and_nothing_is_written(bundle, infer, tmp_path):
    dataset = write_phantom_dataset(tmp_path / "set", patients=3, size=64, slices=3, progress=False)
    scan = next((dataset / "volumes").glob("*_source.nii"))
    parser = ConfigParser()
    parser.read_config(bundle / "configs" / "inference.json")
    parser.config.update({"bundle_root": str(bundle), "backend": "torch", "precision": "fp32"})
    network = parser.get_parsed_content("network_def")
    load_weights(network, bundle / "models" / "model.pt")
    before = set(tmp_path.rglob("*"))
    item = parser.get_parsed_content("preprocessing")({"image": str(scan)})
    with torch.no_grad():
        item["pred"] = parser.get_parsed_content("inferer")(item["image"][None], network.eval())[0]
    item = parser.get_parsed_content("postprocessing")(item)
    assert set(tmp_path.rglob("*")) == before
    infer(scan, tmp_path / "out")
    (file,) = (tmp_path / "out").rglob("*.nii.gz")
    written = nib.load(file)
    np.testing.assert_allclose(item["pred"].affine.numpy(), written.affine, atol=1e-4)
    np.testing.assert_allclose(item["pred"][0].numpy(), np.asarray(written.dataobj), atol=0.51)  # rounded to whole HU
