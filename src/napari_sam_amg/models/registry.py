"""The models that can be asked for by name: files, addresses, hashes. Free of torch.

Host and hash of SAM 1: Meta publishes no hashes; these were seen in public code, and the file names
of SAM 1 end with the beginning of the MD5. Parameters that suit a model: :mod:`napari_sam_amg.models.defaults`.
"""

import os
import sys
from dataclasses import dataclass
from pathlib import Path

from napari_sam_amg.hashes import hash_file
from napari_sam_amg.models.own_models import OwnModel, OwnModels, read_own_models
from napari_sam_amg.paths import expanded

EMBEDDED = "embedded"
OTHER_MAPS = "its own maps are others, of foreground, boundary and offsets"  # of a model of ours, which has no decoder
FOLDER_VARIABLE = "NAPARI_SAM_AMG_MODELS"
OFFLINE_VARIABLE = "NAPARI_SAM_AMG_OFFLINE"
_APP = "napari-sam-amg"
_SAM = "https://dl.fbaipublicfiles.com/segment_anything"
_MOBILE_SAM = "https://raw.githubusercontent.com/ChaoningZhang/MobileSAM/f706ad9c4eb7f219c00d9050e46328518ffb65d2"
_MICRO_SAM = "https://uk1s3.embassy.ebi.ac.uk/public-datasets/bioimage.io"


class CheckpointError(ValueError):
    """A checkpoint that is absent, damaged or not what it should be."""


@dataclass(frozen=True, slots=True)
class KnownModel:
    """A published checkpoint."""

    name: str
    file_name: str  # in the models folder
    url: str
    digest: str  # "sha256:..." or "xxh128:..."
    purpose: str  # what it was trained for, in a few words
    size: int | None = None  # bytes of the file, where they are known
    decoder: "KnownModel | None" = None  # a file beside it, of its segmentation decoder

    @property
    def architecture(self) -> str:
        """With which its name begins: "vit_h", "vit_l", "vit_b" or "vit_t"; "" of an own model, which may have any."""
        return self.name[:5] if self.name in _DOWNLOADABLE else ""

    @property
    def path(self) -> Path:
        """Where its file is, or will be."""
        return models_folder() / self.file_name

    @property
    def files(self) -> "tuple[KnownModel, ...]":
        """Itself, and the decoder that belongs to it."""
        return (self,) if self.decoder is None else (self, self.decoder)

    @property
    def by_hand(self) -> str:
        """How to get it without this program."""
        return f"download {self.url} and save it as {self.path}"


def _micro_sam(name: str, version: str, xxh128: str, decoder_xxh128: str) -> KnownModel:
    """micro-sam publishes the SAM and its segmentation decoder as two files. Source: ``micro_sam.util.models`` 1.8."""
    purpose = "light microscopy" if name.endswith("_lm") else "organelles in electron microscopy"
    url = f"{_MICRO_SAM}/{version}/files/{name[:5]}"
    decoder = KnownModel(
        f"{name}_decoder", f"{name}_decoder.pt", f"{url}_decoder.pt", f"xxh128:{decoder_xxh128}",
        f"segmentation decoder of {name}",
    )  # fmt: skip
    return KnownModel(name, f"{name}.pt", f"{url}.pt", f"xxh128:{xxh128}", f"{purpose} (micro-sam)", decoder=decoder)


_DOWNLOADABLE = {
    model.name: model
    for model in (
        KnownModel(
            "vit_t",
            "mobile_sam.pt",
            f"{_MOBILE_SAM}/weights/mobile_sam.pt",
            "sha256:6dbb90523a35330fedd7f1d3dfc66f995213d81b29a5ca8108dbcdd4e37d6c2f",
            "photographs, small and fast (MobileSAM)",
            40_728_226,
        ),
        KnownModel(
            "vit_b",
            "sam_vit_b_01ec64.pth",
            f"{_SAM}/sam_vit_b_01ec64.pth",
            "sha256:ec2df62732614e57411cdcf32a23ffdf28910380d03139ee0f4fcbe91eb8c912",
            "photographs, base size (Segment Anything)",
            375_042_383,
        ),
        KnownModel(
            "vit_l",
            "sam_vit_l_0b3195.pth",
            f"{_SAM}/sam_vit_l_0b3195.pth",
            "sha256:3adcc4315b642a4d2101128f611684e8734c41232a17c648ed1693702a49a622",
            "photographs, large (Segment Anything)",
        ),
        KnownModel(
            "vit_h",
            "sam_vit_h_4b8939.pth",
            f"{_SAM}/sam_vit_h_4b8939.pth",
            "sha256:a7bf3b02f3ebf1267aba913ff637d9a2d5c33d3173bb679e46d9f338c26f262e",
            "photographs, largest and best (Segment Anything)",
            2_564_550_879,
        ),
        _micro_sam(
            "vit_t_lm",
            "faithful-chicken/1.1",
            "72ec5074774761a6e5c05a08942f981e",
            "3e914a5f397b0312cdd36813031f8823",
        ),
        _micro_sam(
            "vit_b_lm",
            "diplomatic-bug/1.2",
            "fe9252a29f3f4ea53c15a06de471e186",
            "708b15ac620e235f90bb38612c4929ba",
        ),
        _micro_sam(
            "vit_l_lm",
            "idealistic-rat/1.2",
            "017f20677997d628426dec80a8018f9d",
            "2faeafa03819dfe03e7c46a44aaac64a",
        ),
        _micro_sam(
            "vit_t_em_organelles",
            "greedy-whale/1",
            "253474720c497cce605e57c9b1d18fd9",
            "8f897c7bb93174a4d1638827c4dd6f44",
        ),
        _micro_sam(
            "vit_b_em_organelles",
            "noisy-ox/1.2",
            "f3bf2ed83d691456bae2c3f9a05fb438",
            "bb6398956a6b0132c26b631c14f95ce2",
        ),
        _micro_sam(
            "vit_l_em_organelles",
            "humorous-crab/1.2",
            "810b084b6e51acdbf760a993d8619f2d",
            "334877640bfdaaabce533e3252a17294",
        ),
    )
}


def known_models() -> tuple[str, ...]:
    """The names that ``load_model`` accepts, the one that is always there first."""
    return (EMBEDDED, *_DOWNLOADABLE, *own_models().models)


def find_known(name: str) -> KnownModel | None:
    """The published checkpoint of this name, which may be an own model with an address."""
    own = find_own(name)
    # without an address there is nothing to download, and so nothing that may be deleted
    if own is not None and own.url:
        return KnownModel(name, str(own.file), own.url, f"sha256:{own.sha256}", own.description or "own model")
    return _DOWNLOADABLE.get(name)


def own_models() -> OwnModels:
    """What ``models.toml`` in the models folder holds now; that there is no such folder is a problem like others."""
    try:
        folder = models_folder()
    except CheckpointError as error:
        return OwnModels(problems=(str(error),))
    return read_own_models(folder, (EMBEDDED, *_DOWNLOADABLE))


def find_own(name: str) -> OwnModel | None:
    """The own model of this name."""
    return own_models().models.get(name)


def own_path(model: OwnModel) -> Path:
    """The file of an own model, verified if it has a hash; ``CheckpointError`` if it is not there or another."""
    if not model.file.is_file():
        raise CheckpointError(f"model {model.name!r}: there is no file {model.file}, which models.toml names")
    if model.sha256 and (found := hash_file(model.file)) != model.sha256:
        raise CheckpointError(
            f"{model.file} is damaged or not {model.name!r}: its sha256 is {found}, models.toml says {model.sha256}"
        )
    return model.file


def find_sha256(sha256: str) -> KnownModel | None:
    """The published checkpoint whose file has this hash, whatever its name is here."""
    return next((model for model in _DOWNLOADABLE.values() if model.digest == f"sha256:{sha256}"), None)


def embedded_path() -> Path:
    return Path(__file__).parents[1] / "weights" / "embedded.pt"


def models_folder() -> Path:
    """Where published checkpoints are kept: ``NAPARI_SAM_AMG_MODELS``, or the platform's cache folder.

    ``CheckpointError`` if they are in the home folder of somebody unknown.
    """
    try:
        # set to nothing is not set, as in XDG's rules
        if chosen := os.environ.get(FOLDER_VARIABLE):
            return expanded(chosen)
        if sys.platform == "darwin":
            return expanded("~") / "Library" / "Caches" / _APP
        if sys.platform == "win32":
            return Path(os.environ.get("LOCALAPPDATA") or expanded("~") / "AppData" / "Local") / _APP
        return expanded(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / _APP
    except ValueError as error:
        raise CheckpointError(f"the models folder is not known: {error} ({FOLDER_VARIABLE} sets it)") from error


def is_offline() -> bool:
    """Whether ``NAPARI_SAM_AMG_OFFLINE`` forbids downloads: set to anything but 0."""
    return os.environ.get(OFFLINE_VARIABLE, "0") not in ("", "0")


def size_in_words(size: int) -> str:
    """Bytes as "13 kB", "375 MB" or "2.6 GB", powers of 1000."""
    if size < 1_000_000:
        return f"{size / 1e3:.0f} kB"
    return f"{size / 1e6:.0f} MB" if size < 1_000_000_000 else f"{size / 1e9:.1f} GB"


def known_path(model: KnownModel) -> Path:
    """The local, verified file of a published checkpoint; ``CheckpointError`` says how to get it."""
    path = model.path
    if not path.is_file():
        raise CheckpointError(
            f"model {model.name!r} is not on this machine: {model.by_hand} (another folder: set {FOLDER_VARIABLE}; "
            f"downloads are switched off by --offline or {OFFLINE_VARIABLE})"
        )
    algorithm, expected = model.digest.split(":")
    found = hash_file(path, algorithm)
    if found != expected:
        raise CheckpointError(
            f"{path} is damaged or not {model.name!r}: its {algorithm} is {found}, expected {expected}; "
            f"download it again from {model.url}, or delete it and choose the model again"
        )
    return path
