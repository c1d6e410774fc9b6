"""Conda environments as a whole: trained in, through the SDK, explained, collected and taken elsewhere."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from support.channel import Channel
from support.conda_definition import asks
from support.desk import Desk
from support.index import Index

FIXTURES = Path(__file__).parent.parent / "fixtures"


def test_a_model_is_trained_in_packages_of_condas(desk: Desk, science: Channel) -> None:
    shutil.copytree(FIXTURES / "iris", desk.folder, dirs_exist_ok=True)
    asks(desk, science.url, "python=3.11", "scikit-learn=1.6")

    done = desk.envbuild("run", "-e", "environment.yml", "train.py")

    assert "accuracy 0." in done.out


def test_the_objects_of_the_sdk_build_what_conda_brings(desk: Desk, channel: Channel, index: Index) -> None:
    desk.write(
        "make.py",
        f"""
from envbuild import Environment
from envbuild.sdk.conda_dependencies import CondaDependencies

asked = CondaDependencies.create(
    python_version="3.11", conda_packages=["almanac=1.1"], pip_packages=["fancy"], pin_sdk_version=False
)
asked.set_pip_option("--index-url {index.simple}")
asked.remove_channel("conda-forge")
asked.add_channel("{channel.url}")
made = Environment("sdk")
made.python.conda_dependencies = asked
made.register()
""",
    )
    subprocess.run([sys.executable, "make.py"], cwd=desk.folder, env=desk.environment, check=True)

    prefix = desk.build("sdk")

    assert prefix.python("import almanac, fancy; print(almanac.__version__, fancy.__version__)") == "1.1 1.0"


def test_why_names_the_conda_package_that_makes_another_environment(desk: Desk, channel: Channel) -> None:
    asks(desk, channel.url, "python=3.11", "almanac=1.0")
    desk.build()
    asks(desk, channel.url, "python=3.11", "almanac=1.1")
    desk.lock()
    assert "almanac (conda): 1.0 → 1.1" in desk.envbuild("why").out


def test_gc_frees_an_environment_that_comes_back_from_the_cache(desk: Desk, channel: Channel) -> None:
    asks(desk, channel.url, "python=3.11", "almanac")
    first = desk.build()
    desk.envbuild("store", "gc", "--max-size", "0")
    assert not first.path.exists()

    again = desk.build("--offline")

    assert (again.id, again.built) == (first.id, True)


def test_an_environment_goes_elsewhere_in_a_bundle(desk: Desk, channel: Channel) -> None:
    asks(desk, channel.url, "python=3.11", "almanac")
    desk.envbuild("env", "register", "environment.yml", "--name", "demo")
    first = desk.build("demo")
    desk.envbuild("env", "export", "demo", "--output", "demo.tar")
    there = desk.elsewhere()
    there.write("demo.tar", (desk.folder / "demo.tar").read_bytes())
    there.envbuild("env", "import", "demo.tar")

    assert there.build("demo").id == first.id


def test_a_repeated_run_asks_nobody(desk: Desk, channel: Channel) -> None:
    asks(desk, channel.url, "python=3.11", "almanac")
    desk.write("show.py", "import almanac; print(almanac.__version__)")
    desk.envbuild("run", "-e", "environment.yml", "show.py")
    desk.envbuild("run", "-e", "environment.yml", "show.py")

    done = desk.set(PATH="/nowhere").envbuild("run", "-e", "environment.yml", "show.py")

    assert done.out.startswith("2.0")
