"""Packaging of rcan_plugin. BasicSR itself is installed beside it, not by it: see docs/install.md."""

import re
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent
VERSION = re.search(r'__version__ = "(.+?)"', (ROOT / "rcan_plugin/_version.py").read_text()).group(1)

ONNX = ["onnx", "onnxruntime"]  # rcan export-onnx
DOCS = ["mkdocs<2", "mkdocs-material>=9", "mkdocstrings-python>=2"]  # make docs


class BuildWithOptionFiles(build_py):
    """Copies `options/` into the wheel, for `rcan options copy`. BasicSR's users expect it at the top of a project."""

    def run(self) -> None:
        super().run()
        if not self.editable_mode:
            self.copy_tree("options", str(Path(self.build_lib) / "rcan_plugin/option_files"))


setup(
    name="rcan_plugin",
    version=VERSION,
    description="RCAN and degradation-aware paired data for an unmodified BasicSR",
    long_description=(ROOT / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license_expression="MIT",
    license_files=["LICENSE"],
    classifiers=[
        "Environment :: GPU :: NVIDIA CUDA",
        "Intended Audience :: Science/Research",
        "Operating System :: POSIX :: Linux",
        *(f"Programming Language :: Python :: 3.{minor}" for minor in range(10, 14)),
        "Topic :: Scientific/Engineering :: Image Processing",
    ],
    keywords=["super-resolution", "RCAN", "BasicSR", "image restoration", "PyTorch"],
    # `find_packages()` alone would follow the link `basicsr` at the root.
    packages=find_packages(include=["rcan_plugin", "rcan_plugin.*"]),
    package_data={"rcan_plugin.compare": ["assets/*", "published.json"], "rcan_plugin.weights": ["light/*"]},
    cmdclass={"build_py": BuildWithOptionFiles},
    python_requires=">=3.10",
    # What BasicSR 1.4.2 really needs. BasicSR itself is missing on purpose: it asks for `tb-nightly`, which has
    # only pre-releases and none for some platforms, so pip is told to install it with `--no-deps`.
    install_requires=[
        "addict",
        "filelock",  # two runs at once; torch brings it
        "future",
        "lmdb",
        "numpy",
        "opencv-python",
        "Pillow",
        "pyyaml",
        "requests",
        "safetensors",  # what chaiNNer, ComfyUI and Hugging Face exchange weights in; small, needs nothing itself
        "scikit-image",
        "scipy",
        "tensorboard",
        "tifffile",  # TIFFs of 16 bits and floats
        "torch>=2.5",  # the first that calls the entry point below
        "torchvision",
        "tqdm",
        "yapf",
    ],
    extras_require={
        "iqa": ["pyiqa"],  # metrics of `rcan compare` beside PSNR and SSIM
        "plots": ["matplotlib"],  # plots of `rcan compare`; `rcan plot-training`
        "onnx": ONNX,
        "docs": DOCS,
        "dev": [
            *ONNX,
            *DOCS,
            "jsonschema",
            "matplotlib",
            "mypy",
            "playwright",  # pages in a browser, which it does not bring: `apt install chromium`
            "pytest",
            "pytest-cov",
            "pytest-xdist",
            "ruff",
            "spandrel",
            "types-PyYAML",
            "types-requests",
            "types-tqdm",
        ],
    },
    entry_points={
        "console_scripts": ["rcan = rcan_plugin.cli:main"],
        "torch.backends": ["rcan_plugin = rcan_plugin.autoload:load"],
    },
)
