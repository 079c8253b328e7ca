"""Object recognition in upscaled images: top-1 and top-5 errors of a classifier, as in RCAN's paper."""
