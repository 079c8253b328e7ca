"""Reads pictures with alpha, colour profile, EXIF and 16 bits, enlarges them and writes them. Needs no torch.

    picture = read("cat.png")
    write("cat_x4.png", enlarge(picture, upscale, 4))

For results that do not fit in memory, `enlarge_rows` and `write_rows` pass strips of rows from the network to the file.
"""

from rcan_plugin.pictures.enlarging import enlarge, enlarge_rows, network_input
from rcan_plugin.pictures.formats import SUFFIXES, check_output, is_picture_name, output_format, suffix_of
from rcan_plugin.pictures.picture import Picture, PictureError
from rcan_plugin.pictures.reading import MAX_PIXELS, read
from rcan_plugin.pictures.writing import write, write_rows

__all__ = [
    "MAX_PIXELS",
    "SUFFIXES",
    "Picture",
    "PictureError",
    "check_output",
    "enlarge",
    "enlarge_rows",
    "is_picture_name",
    "network_input",
    "output_format",
    "read",
    "suffix_of",
    "write",
    "write_rows",
]
