"""Files as projects have them: each shape below is one that is found in the wild, and means what it means to conda.

What rattler makes of a package's match spec is asked of rattler itself.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.version import Version

from envbuild.definition import Definition, python_range
from envbuild.reading import read
from envbuild.reading.conda import python_version
from envbuild_conda.solving import match_spec

rattler = pytest.importorskip("rattler")

Matched = tuple[str, str | None, str | None, str | None]
"""Name, version, build and channel of a match spec, as rattler says them."""


@dataclass(frozen=True)
class Shape:
    """A file, and what comes of it.

    :param conda: what rattler is to make of the packages.
    :param options: those of pip's that are set.
    """

    text: str
    conda: list[Matched] = field(default_factory=list)
    name: str | None = None
    python: str | None = None
    channels: tuple[str, ...] = ()
    pip: tuple[str, ...] = ()
    options: dict[str, object] = field(default_factory=dict)
    variables: dict[str, str] = field(default_factory=dict)


SHAPES = {
    "a data science template leaves it all to pip": Shape(
        """
name: churn-model
channels:
  - defaults
dependencies:
  - python=3.10
  - pip
  - pip:
    - -r requirements.txt
    - -e .
""",
        name="churn-model",
        python="3.10",
        channels=("defaults",),
        pip=("requests>=2", "./."),
    ),
    "lists for pip are named as files, in two ways": Shape(
        """
dependencies:
  - python >=3.8,<3.11
  - pip:
      - -r file:requirements.txt
      - --requirement dev.txt
""",
        python=">=3.8,<3.11",
        pip=("requests>=2", "pytest"),
    ),
    "a deep learning library asks for ranges, and git for the rest": Shape(
        """
name: vision
channels: [fastai, pytorch, conda-forge, nodefaults]
dependencies:
  - "python>=3.8"
  - pytorch>=1.10.0, <2.0
  - fastcore >=1.5.29,<1.6
  - pip:
    - git+https://host.test/notebooks.git@main#egg=notebooks
    - tools @ git+https://host.test/tools.git@v1
    - -e git+https://host.test/local.git#egg=local
""",
        name="vision",
        python=">=3.8",
        channels=("fastai", "pytorch", "conda-forge", "nodefaults"),
        conda=[("pytorch", ">=1.10.0,<2.0", None, None), ("fastcore", ">=1.5.29,<1.6", None, None)],
        pip=(
            "notebooks @ git+https://host.test/notebooks.git@main",
            "tools @ git+https://host.test/tools.git@v1",
            "local @ git+https://host.test/local.git",
        ),
    ),
    "packages for a GPU come from channels of their own": Shape(
        """
name: gpu
channels:
dependencies:
  - python ==3.9.*
  - pytorch::pytorch=2.1.*=*cuda*
  - pytorch::torchvision
  - nvidia/label/cuda-12.1.0::cuda-toolkit
  - pytorch-cuda = 11.8
  - cudatoolkit=10.2|11.0
  - pip>=21
  - pip:
    - --pre
    - --extra-index-url https://download.test/whl/nightly/cu128
    - -f https://data.test/whl/torch.html
    - torch-scatter==2.1.2+pt21cu118
    - "jax[cuda12_pip]"
""",
        name="gpu",
        python="3.9",
        conda=[
            ("pytorch", "2.1.*", "*cuda*", "pytorch"),
            ("torchvision", None, None, "pytorch"),
            ("cuda-toolkit", None, None, "nvidia/label/cuda-12.1.0"),
            ("pytorch-cuda", "11.8.*", None, None),
            ("cudatoolkit", "10.2.*|==11.0", None, None),
            ("pip", ">=21", None, None),
        ],
        pip=("torch-scatter==2.1.2+pt21cu118", "jax[cuda12-pip]"),
        options={
            "pre": True,
            "extra_index_urls": ("https://download.test/whl/nightly/cu128",),
            "find_links": ("https://data.test/whl/torch.html",),
        },
    ),
    "an export has builds, a prefix and variables": Shape(
        r"""
name: base
channels:
  - defaults
dependencies:
  - _libgcc_mutex=0.1=main
  - ca-certificates=2021.10.26=h06a4308_2
  - jpeg=9e=h7f8727e_0
  - python=3.8.12=h12debd9_0
  - pip=21.2.4=py38h06a4308_0
  - pip:
    - absl-py==1.0.0
prefix: C:\Users\me\anaconda3\envs\base
variables:
  KMP_DUPLICATE_LIB_OK: "TRUE"
  CUDA_HOME: ""
""",
        name="base",
        python="3.8.12",
        channels=("defaults",),
        conda=[
            ("_libgcc_mutex", "==0.1", "main", None),
            ("ca-certificates", "==2021.10.26", "h06a4308_2", None),
            ("jpeg", "==9e", "h7f8727e_0", None),
            ("python", "==3.8.12", "h12debd9_0", None),
            ("pip", "==21.2.4", "py38h06a4308_0", None),
        ],
        pip=("absl-py==1.0.0",),
        variables={"KMP_DUPLICATE_LIB_OK": "TRUE", "CUDA_HOME": ""},
    ),
    "channels are addresses, and nothing is where something could be": Shape(
        """
name: null
prefix: null
channels:
  - https://conda.test/conda-forge
  - https://conda.test/t/tk-123/corp/label/dev/
dependencies:
  - conda-forge/linux-64::numpy
  - https://conda.test/bioconda::samtools>=1.9
  - pip:
""",
        channels=("https://conda.test/conda-forge", "https://conda.test/corp/label/dev/"),
        conda=[("numpy", None, None, "conda-forge"), ("samtools", ">=1.9", None, "bioconda")],
    ),
    "a training project of Azure's puts channels last and comments everywhere": Shape(
        """
# What runs need on every target
name: project_environment
dependencies:
# the interpreter
- python=3.6.2

- pip:
  # the service
  - azureml-defaults==1.0.85.*
  - azureml-train-automl-runtime~=1.0.85.0
  - --extra-index-url "https://sdk.test/simple"
- numpy>=1.16.0,<=1.16.2
- py-xgboost<=0.80
- scikit-learn==0.20.3
channels:
- anaconda
- conda-forge
""",
        name="project_environment",
        python="3.6.2",
        channels=("anaconda", "conda-forge"),
        conda=[
            ("numpy", ">=1.16.0,<=1.16.2", None, None),
            ("py-xgboost", "<=0.80", None, None),
            ("scikit-learn", "==0.20.3", None, None),
        ],
        pip=("azureml-defaults==1.0.85.*", "azureml-train-automl-runtime~=1.0.85.0"),
        options={"extra_index_urls": ("https://sdk.test/simple",)},
    ),
    "a library lists what its developers need, extras of pip's among it": Shape(
        """
name: frames-dev
channels:
  - conda-forge
dependencies:
  - python=3.10[build=*_cpython]
  - versioneer[toml]
  - meson[ninja]=1.0.1
  - cython=0.29.33  # until it is ported
  - numpy<1.24.0
  - pyarrow>=7, <10
  - sphinx<8,!=7.2.*
  - python-dateutil
  - pip:
    - "dataframe-api-compat>=0.1.7"
    - adbc-driver-postgresql>=0.10.0; sys_platform != 'win32'
""",
        name="frames-dev",
        python="3.10",
        channels=("conda-forge",),
        conda=[
            ("versioneer", None, None, None),
            ("meson", "1.0.1.*", None, None),
            ("cython", "0.29.33.*", None, None),
            ("numpy", "<1.24.0", None, None),
            ("pyarrow", ">=7,<10", None, None),
            ("sphinx", "<8,!=7.2.*", None, None),
            ("python-dateutil", None, None, None),
            ("python", "3.10.*", "*_cpython", None),
        ],
        pip=("dataframe-api-compat>=0.1.7", 'adbc-driver-postgresql>=0.10.0; sys_platform != "win32"'),
    ),
    "a workflow of a bioinformatician leaves spaces, and needs no Python": Shape(
        """
channels: [conda-forge, bioconda, nodefaults]
dependencies:
  - bwa =0.7.17
  - snakemake-wrapper-utils ==0.1.3
  - picard >=2.23
  - r-base ==3.6.2
  - perl 5.32.1 2_h7f98852_perl5
  - bioconductor-deseq2=1.30.*
  - openjdk=8|11
""",
        channels=("conda-forge", "bioconda", "nodefaults"),
        conda=[
            ("bwa", "0.7.17.*", None, None),
            ("snakemake-wrapper-utils", "==0.1.3", None, None),
            ("picard", ">=2.23", None, None),
            ("r-base", "==3.6.2", None, None),
            ("perl", "==5.32.1", "2_h7f98852_perl5", None),
            ("bioconductor-deseq2", "1.30.*", None, None),
            ("openjdk", "8.*|==11", None, None),
        ],
    ),
    "a file was made on Windows": Shape(
        "name: win\r\ndependencies:\r\n- pywin32\r\n- m2w64-gcc=5.3.0=6\r\n- vc=14.1=h21ff451_3\r\n"
        "- python=3.7*\r\nplatforms: [win-64]\r\n",
        name="win",
        python="3.7",
        conda=[
            ("pywin32", None, None, None),
            ("m2w64-gcc", "==5.3.0", "6", None),
            ("vc", "==14.1", "h21ff451_3", None),
        ],
    ),
    "a package is named twice, and once in capitals": Shape(
        """
dependencies:
  - numpy
  - numpy>=1.2
  - PyYAML
  - jupyterlab>=3,<4.0a0
  - "pip"
  - pip: ["uvicorn[standard]"]
""",
        conda=[
            ("numpy", None, None, None),
            ("numpy", ">=1.2", None, None),
            ("pyyaml", None, None, None),
            ("jupyterlab", ">=3,<4.0a0", None, None),
            ("pip", None, None, None),
        ],
        pip=("uvicorn[standard]",),
    ),
    "spaces and brackets where others have signs": Shape(
        """
dependencies:
  - python 3.9.*
  - numpy   1.21   py39*
  - libblas=*=*mkl
  - scipy[version='>=1.7,<2', build='py39*']
  - numpy (>=1.2)
  - pkgs/main::intel-openmp
""",
        python="3.9",
        conda=[
            ("numpy", "==1.21", "py39*", None),
            ("libblas", "*", "*mkl", None),
            ("scipy", ">=1.7,<2", "py39*", None),
            ("numpy", ">=1.2", None, None),
            ("intel-openmp", None, None, "pkgs/main"),
        ],
    ),
    "there is nothing in it yet": Shape(
        "name: new\nchannels:\n  - conda-forge\ndependencies:\n", name="new", channels=("conda-forge",)
    ),
}


def definition(folder: Path, text: str) -> Definition:
    (folder / "requirements.txt").write_text("requests>=2\n")
    (folder / "dev.txt").write_text("pytest\n")
    (folder / "pyproject.toml").write_text('[project]\nname = "own"\nversion = "1"\n')
    path = folder / "environment.yml"
    path.write_bytes(text.encode())
    return read(path, variables={})


def matched(spec: str) -> Matched:
    found = rattler.MatchSpec(match_spec(spec))
    version = None if found.version is None else str(found.version)
    return (found.name.normalized, version, found.build, found.channel and found.channel.name)


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_a_file_means_what_it_means_to_conda(tmp_path: Path, shape: Shape) -> None:
    found = definition(tmp_path, shape.text)

    assert (found.name, found.python, found.channels) == (shape.name, shape.python, shape.channels)
    assert [matched(each) for each in found.conda] == shape.conda
    assert tuple(each.text for each in found.pip) == shape.pip
    options = {key: getattr(found.options, key) for key in found.options.__dataclass_fields__}
    assert {key: value for key, value in options.items() if value} == shape.options
    assert dict(found.variables) == shape.variables


# Properties

names = st.from_regex(r"[a-z_][a-z0-9_]{0,6}([.-][a-z0-9]{1,4})?", fullmatch=True).filter(
    lambda name: name not in ("python", "pip")
)
releases = st.lists(st.integers(0, 30), min_size=1, max_size=4).map(lambda parts: ".".join(map(str, parts)))
clauses = st.tuples(st.sampled_from(["==", ">=", "<=", "!=", ">", "<"]), releases).map("".join)
builds = st.from_regex(r"(py[0-9]{2}_|h[0-9a-f]{4}_)?[0-9]", fullmatch=True)
spaces = st.sampled_from(["", " ", "  "])


@given(names, st.lists(clauses, min_size=1, max_size=3), spaces, spaces)
def test_spaces_around_versions_mean_nothing(name: str, asked: list[str], before: str, between: str) -> None:
    assert matched(f"{name}{before}{f',{between}'.join(asked)}") == matched(f"{name} {','.join(asked)}")


@given(names, releases, builds)
def test_a_build_is_behind_a_sign_or_a_space(name: str, release: str, build: str) -> None:
    assert (
        matched(f"{name}={release}={build}")
        == matched(f"{name} {release} {build}")
        == matched(f"{name}=={release}[build={build}]")
    )


@given(names, releases, st.sampled_from(["", "conda-forge::"]))
def test_one_sign_asks_for_all_that_begin_so(name: str, release: str, channel: str) -> None:
    assert matched(f"{channel}{name}={release}") == matched(f"{channel}{name} {release}.*")


@given(names, releases, st.lists(names, min_size=1, max_size=2))
def test_extras_are_none_of_condas_business(name: str, release: str, extras: list[str]) -> None:
    bracketed = f"{name}[{','.join(extras)}]"
    assert matched(bracketed) == matched(name)
    assert matched(f"{bracketed}={release}") == matched(f"{name}={release}")
    assert matched(f"{bracketed}[version={release}]") == matched(f"{name}[version={release}]")


PYTHONS = [f"3.{minor}.{patch}" for minor in range(7, 15) for patch in range(4)]
pythons = st.tuples(st.integers(8, 13), st.none() | st.integers(0, 3)).map(
    lambda parts: f"3.{parts[0]}" + ("" if parts[1] is None else f".{parts[1]}")
)
single = st.one_of(
    st.tuples(st.sampled_from(["=", "==", " ", " =", "= "]), pythons, st.sampled_from(["", ".*", "*"])).map("".join),
    st.tuples(
        st.sampled_from(["=", "==", " "]), pythons, st.sampled_from(["=h0_0", " h0_0", "=*_cpython", "=0", " 1"])
    ).map("".join),
    pythons.map("[version='{}.*']".format),
    st.tuples(pythons, builds).map(lambda parts: f"={parts[0]}[build={parts[1]}]"),
)
bounded = st.lists(
    st.one_of(
        st.tuples(st.sampled_from([">=", "<", "<=", ">", "!=", "==", "~="]), pythons).map("".join),
        # Not '==3.8.*', which conda takes for 3.8.0 where other clauses are beside it, and warns about.
        st.tuples(st.sampled_from([">=", "!="]), pythons, st.just(".*")).map("".join),
    ),
    min_size=1,
    max_size=3,
).map(", ".join)


@given(st.one_of(single, bounded))
def test_a_definition_admits_the_pythons_that_conda_would_install(spec: str) -> None:
    wanted = rattler.MatchSpec(f"python{spec}").version
    said = python_version(spec)

    admitted = [each for each in PYTHONS if said is None or Version(each) in python_range(said)]

    assert admitted == [each for each in PYTHONS if rattler.VersionSpec(str(wanted)).matches(rattler.Version(each))]
