"""What a model is: a directory of files with tensors in safetensors, and the manifest that names it by its bytes.

``survey`` lists the files of a directory and refuses what must not be registered; ``digest_model`` reads every byte
once and returns the ``ModelManifest``; ``verify_directory`` checks a directory against one. Weights are never loaded
and never held in memory; pickles are refused unread (loading a model must not run its author's code).
"""

from __future__ import annotations

from countermark.artifact.digesting import digest_model, verify_directory
from countermark.artifact.directory import ModelFiles, SourceFile, survey
from countermark.artifact.manifest import FileRecord, ModelManifest, TensorRecord, file_leaf, tensor_leaf

__all__ = [
    "FileRecord",
    "ModelFiles",
    "ModelManifest",
    "SourceFile",
    "TensorRecord",
    "digest_model",
    "file_leaf",
    "survey",
    "tensor_leaf",
    "verify_directory",
]
