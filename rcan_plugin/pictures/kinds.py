"""Recognises, by their first bytes, files that cannot be enlarged or need another program first."""

from __future__ import annotations

import re
from pathlib import PurePath

HEAD_BYTES = 4096
"""Bytes that are read from a file for `refusal` and `hidden_depth`."""

_EXPORT = "export it as PNG or TIFF"

_HEADS: tuple[tuple[bytes, str], ...] = (
    (rb"%PDF", f"is a PDF document: {_EXPORT}"),
    (rb"%!PS|\xc5\xd0\xd3\xc6", f"is a PostScript (EPS) file, which has no pixels: {_EXPORT}"),
    (rb"\s*(<\?xml.*)?<svg", f"is an SVG drawing, which has no pixels: {_EXPORT} in the size you need"),
    (rb"8BPS", f"is a Photoshop document (PSD): {_EXPORT}"),
    (rb"gimp xcf", f"is a GIMP document (XCF): {_EXPORT}"),
    (rb"\xff\x0a|\x00\x00\x00\x0cJXL ", "is a JPEG XL file, which Pillow does not read: convert it to PNG or TIFF"),
    (rb"\x76\x2f\x31\x01", "is an OpenEXR file with values beyond white: tone-map it and save it as TIFF"),
    (rb"#\?(RADIANCE|RGBE)", "is a Radiance HDR file with values beyond white: tone-map it and save it as TIFF"),
    (rb"....ftyp(qt|isom|iso\d|mp4|M4V|3gp|avc1)|\x1aE\xdf\xa3|RIFF....AVI ", "is a video: export its frames as PNG"),
    (rb"PK\x03\x04|\x1f\x8b|7z\xbc\xaf|Rar!", "is an archive: unpack it"),
)

_HEIF = re.compile(rb"....ftyp(heic|heix|hevc|hevx|heim|heis|mif1|msf1)", re.DOTALL)
_AVIF_BRANDS = re.compile(rb"avif|avis")

_RAW = "is a camera's raw file: develop it and export it as 16-bit TIFF"
_RAW_SUFFIXES = (
    "3fr arw cr2 cr3 crw dcr dng erf fff iiq kdc mef mos mrw nef nrw orf pef raf raw rw2 rwl sr2 srf srw x3f"
)
_SUFFIXES = {
    **dict.fromkeys(_RAW_SUFFIXES.split(), _RAW),
    "svgz": f"is an SVG drawing, which has no pixels: {_EXPORT} in the size you need",
}


def is_heif(head: bytes) -> bool:
    """Whether a file is HEIF (HEIC), not AVIF."""
    return bool(_HEIF.match(head)) and not _AVIF_BRANDS.search(head[8:64])


def is_tiff(head: bytes) -> bool:
    """Whether a file is a TIFF or a BigTIFF."""
    return head[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def refusal(name: str, head: bytes) -> str:
    """Return why a file cannot be enlarged and what to do, or "" if it may be a picture.

    Args:
        name: name of the file. Camera raw files have the structure of TIFFs and are recognised by their suffix.
        head: its first `HEAD_BYTES` bytes.
    """
    if not head:
        return "is empty (0 bytes): fetch or make it again"
    by_suffix = _SUFFIXES.get(PurePath(name).suffix.lower().removeprefix("."), "")
    return by_suffix or next((text for start, text in _HEADS if re.match(start, head, re.DOTALL)), "")


def hidden_depth(head: bytes) -> int:
    """Bits per value of an AVIF or JPEG 2000 file, which Pillow does not report; 8 for other files."""
    if (at := head.find(b"av1C")) >= 0:  # AV1CodecConfigurationRecord: high_bitdepth, twelve_bit
        flags = head[at + 6]
        return 8 if not flags & 0x40 else 12 if flags & 0x20 else 10
    if (at := head.find(b"\xff\x4f\xff\x51")) >= 0:  # JPEG 2000's SIZ marker: Ssiz of the first component
        return (head[at + 42] & 0x7F) + 1
    return 8
