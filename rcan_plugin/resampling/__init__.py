"""MATLAB's bicubic resampling: for numpy arrays (`bicubic`), and for torch tensors (`bicubic_modules`)."""
