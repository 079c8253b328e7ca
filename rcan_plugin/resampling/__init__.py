"""MATLAB's bicubic resampling: for NumPy arrays (`bicubic`) and for torch tensors (`bicubic_modules`).

Only `bicubic_modules` imports torch.
"""
