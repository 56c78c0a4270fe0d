"""What the command's processes have imported before they are forked (`command`)."""

import importlib
import pkgutil

import matplotlib.figure  # noqa: F401
import pandas  # noqa: F401
import scipy.stats  # noqa: F401
import sklearn.datasets  # noqa: F401

import bench
import methods
import reports
import slurm

for package in (bench, methods, reports, slurm):
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
