"""Data in and out: guarded readers, atomic writers, the data set on disk, the phantom."""

from __future__ import annotations

from monai_nce.data.atomic import atomic_path, remove_abandoned
from monai_nce.data.background import FinishBehind, VolumeLoader
from monai_nce.data.datalist import read_datalist, read_datalist_file
from monai_nce.data.epoch_sampler import EpochIndex, EpochSampler
from monai_nce.data.file_tree import ReaderWarning
from monai_nce.data.inference_items import check_inference_items, inference_items
from monai_nce.data.layout import ROLES, SPLITS, DatasetWriter
from monai_nce.data.load_image_hu import LoadImageHUd
from monai_nce.data.loader_workers import outlast_signals
from monai_nce.data.pairs import evaluation_pairs, regression_pairs
from monai_nce.data.phantom import LABELS, PhantomPatient, make_phantom_patient
from monai_nce.data.phantom_dataset import ensure_phantom_dataset, write_phantom_dataset
from monai_nce.data.reader import AIR_HU, CTReader, check_volume, find_volumes, read_ct
from monai_nce.data.save_dicom_series import SaveDicomSeriesd, check_output_format
from monai_nce.data.save_image_hu import SaveImageHUd
from monai_nce.data.shard import process_rank, shard
from monai_nce.data.slice_stack_dataset import SliceStackDataset
from monai_nce.data.splits import split_patients
from monai_nce.data.volumes import FoundVolume, find_images
from monai_nce.data.writers import write_json, write_nifti_hu, write_nifti_labels

__all__ = [
    "AIR_HU",
    "LABELS",
    "ROLES",
    "SPLITS",
    "CTReader",
    "DatasetWriter",
    "FinishBehind",
    "LoadImageHUd",
    "EpochIndex",
    "EpochSampler",
    "FoundVolume",
    "PhantomPatient",
    "ReaderWarning",
    "SaveDicomSeriesd",
    "SaveImageHUd",
    "SliceStackDataset",
    "VolumeLoader",
    "atomic_path",
    "check_inference_items",
    "check_output_format",
    "check_volume",
    "ensure_phantom_dataset",
    "evaluation_pairs",
    "find_images",
    "find_volumes",
    "inference_items",
    "make_phantom_patient",
    "outlast_signals",
    "process_rank",
    "read_ct",
    "read_datalist",
    "read_datalist_file",
    "regression_pairs",
    "remove_abandoned",
    "shard",
    "split_patients",
    "write_json",
    "write_nifti_hu",
    "write_nifti_labels",
    "write_phantom_dataset",
]
