"""Object recognition on upscaled images: top-1 and top-5 error of a classifier, as in RCAN's paper."""
