"""The kernels behind raster.py, one module for each kind of device."""
