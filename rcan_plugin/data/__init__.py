"""Images from disk to tensors: the image store and the paired data set over it."""
