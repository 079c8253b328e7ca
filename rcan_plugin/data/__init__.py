"""Images from disk to tensors: the paired data set, its sampler, and the transport of batches."""
