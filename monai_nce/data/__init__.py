"""Read and write scans and data sets: guarded readers, atomic writers, the data set on disk."""

from __future__ import annotations

from monai_nce.data.dataset.datalist import read_datalist, read_datalist_file
from monai_nce.data.dataset.epoch_sampler import EpochIndex, EpochSampler
from monai_nce.data.dataset.kind import dataset_kind, scan_kind
from monai_nce.data.dataset.loader_workers import outlast_signals
from monai_nce.data.dataset.mixture import mixed_items
from monai_nce.data.dataset.pairs import evaluation_pairs, regression_pairs
from monai_nce.data.dataset.provenance import Provenance
from monai_nce.data.dataset.slice_stack_dataset import SliceStackDataset
from monai_nce.data.dataset.splits import split_patients
from monai_nce.data.dataset.stack_loader import StackLoader
from monai_nce.data.dataset.training_data import training_data
from monai_nce.data.dataset.writer import KINDS, ROLES, SPLITS, DatasetWriter
from monai_nce.data.dicom.save_series import SaveDicomSeriesd, check_output_format
from monai_nce.data.files.atomic import atomic_path, remove_abandoned, write_json
from monai_nce.data.files.writable import check_writable
from monai_nce.data.nifti.save_nifti import SaveImageNiftid
from monai_nce.data.nifti.writer import write_nifti_hu, write_nifti_labels
from monai_nce.data.scans.add_provenance import AddProvenanced, tell_training_data, warn_of_phantoms
from monai_nce.data.scans.attempted import AttemptedDataset
from monai_nce.data.scans.collate import collate_volume
from monai_nce.data.scans.earlier_result import settings_hash
from monai_nce.data.scans.file_tree import ReaderWarning
from monai_nce.data.scans.found import FoundVolume, find_images
from monai_nce.data.scans.inference_items import LeftOut, check_inference_items, inference_items
from monai_nce.data.scans.load_scan import LoadImageScand
from monai_nce.data.scans.reader import AIR_HU, CTReader, check_volume, find_volumes, modality_of, read_ct, read_mri

__all__ = [
    "AIR_HU",
    "KINDS",
    "ROLES",
    "SPLITS",
    "AddProvenanced",
    "AttemptedDataset",
    "CTReader",
    "DatasetWriter",
    "LeftOut",
    "LoadImageScand",
    "EpochIndex",
    "EpochSampler",
    "FoundVolume",
    "Provenance",
    "ReaderWarning",
    "SaveDicomSeriesd",
    "SaveImageNiftid",
    "SliceStackDataset",
    "StackLoader",
    "atomic_path",
    "check_inference_items",
    "check_output_format",
    "check_writable",
    "check_volume",
    "collate_volume",
    "dataset_kind",
    "evaluation_pairs",
    "find_images",
    "find_volumes",
    "inference_items",
    "mixed_items",
    "modality_of",
    "outlast_signals",
    "read_ct",
    "read_mri",
    "read_datalist",
    "read_datalist_file",
    "regression_pairs",
    "remove_abandoned",
    "scan_kind",
    "settings_hash",
    "split_patients",
    "tell_training_data",
    "training_data",
    "warn_of_phantoms",
    "write_json",
    "write_nifti_hu",
    "write_nifti_labels",
]
