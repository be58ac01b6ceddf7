"""The Snakemake pipeline: the records of ``call``, whatever happens on the way.

Needs ``snakemake`` (pip install '.[workflow]') on the PATH, or where the environment
variable PILEUPCNN_SNAKEMAKE says. PILEUPCNN_KILLS is how often the pipeline is killed.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from stages import PlaceClassifier, by_call, make_bundle, plain_small_model, records

from pileupcnn import classifiers
from pileupcnn.cli.call import run_call
from pileupcnn.cli.workflow import SOURCE, run_workflow
from pileupcnn.errors import OutputError

SNAKEMAKE = os.environ.get("PILEUPCNN_SNAKEMAKE") or shutil.which(
    "snakemake", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
)
KILLS = int(os.environ.get("PILEUPCNN_KILLS", "2"))
RESULTS = ("results/call/A.vcf.gz", "results/stages/A.vcf.gz")

STAND_IN = f"""#!{sys.executable}
import sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from pileupcnn import classifiers
from stages import PlaceClassifier
classifiers.load_classifier = PlaceClassifier
from pileupcnn.cli import main
main()
"""

needs_snakemake = pytest.mark.skipif(
    SNAKEMAKE is None, reason="no snakemake (pip install '.[workflow]' or PILEUPCNN_SNAKEMAKE)"
)


@pytest.fixture
def pipeline(tmp_path: Path, testdata: Path) -> Path:
    """A folder with the pipeline and a configuration, and a program without TensorFlow."""
    folder = tmp_path / "pipeline"
    config = run_workflow(folder)
    program = tmp_path / "bin" / "pileupcnn"
    program.parent.mkdir()
    program.write_text(STAND_IN)
    program.chmod(0o755)
    bundle = make_bundle(tmp_path / "bundle", partition_size=100, small_model=plain_small_model())
    config.write_text(
        f"ref: {testdata}/ref.fa\n"
        f"model: {bundle}\n"
        f"samples: {{A: {{reads: [{testdata}/sample.bam]}}}}\n"
        "regions: [ctg2, 'ctg1:1-30,000']\n"
        "shards: 3\n"
        "threads: 1\n"
    )
    return folder


def start(pipeline: Path, *arguments: str) -> subprocess.Popen[str]:
    """The pipeline in a process group of its own."""
    path = f"{pipeline.parent / 'bin'}{os.pathsep}{os.environ['PATH']}"
    return subprocess.Popen(
        [str(SNAKEMAKE), "--cores", "2", *arguments],
        cwd=pipeline,
        env={**os.environ, "PATH": path, "HOME": str(pipeline.parent)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def finish(pipeline: Path, *arguments: str, code: int = 0) -> str:
    process = start(pipeline, *arguments)
    output, _ = process.communicate()
    assert process.returncode == code, output
    return output


@needs_snakemake
def test_pipeline_gives_the_records_of_call(
    pipeline: Path, tmp_path: Path, testdata: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(classifiers, "load_classifier", PlaceClassifier)
    inputs: dict[str, Any] = {
        "ref": testdata / "ref.fa",
        "reads": [testdata / "sample.bam"],
        "model": tmp_path / "bundle",
        "regions": ["ctg2", "ctg1:1-30,000"],
        "sample": "A",
    }
    expected = by_call(tmp_path, inputs)
    finish(pipeline, "call", "stages")
    for result in RESULTS:
        assert records(pipeline / result) == expected
    # images and answers are gone, and a second run finds nothing to do
    assert not [path for path in (pipeline / "work").rglob("*") if path.is_file()]
    assert "Nothing to be done" in finish(pipeline, "call", "stages")


@needs_snakemake
def test_pipeline_gives_the_gvcf_of_call(
    pipeline: Path, tmp_path: Path, testdata: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a haploid contig and its pseudo-autosomal regions."""
    monkeypatch.setattr(classifiers, "load_classifier", PlaceClassifier)
    par = tmp_path / "par.bed"
    par.write_text("ctg2\t3000\t9000\n")
    config = pipeline / "config" / "config.yaml"
    config.write_text(
        f"{config.read_text()}gvcf: true\nhaploid_contigs: ctg2\npar_regions: {par}\n"
    )
    run_call(
        testdata / "ref.fa",
        [testdata / "sample.bam"],
        tmp_path / "call.vcf.gz",
        model=tmp_path / "bundle",
        regions=["ctg2", "ctg1:1-30,000"],
        sample="A",
        gvcf=tmp_path / "call.g.vcf.gz",
        haploid_contigs=["ctg2"],
        par_regions=par,
    )
    finish(pipeline, "call", "stages")
    for result in RESULTS:
        for kind in (".vcf.gz", ".g.vcf.gz"):
            path = pipeline / result.replace(".vcf.gz", kind)
            assert records(path) == records(tmp_path / f"call{kind}")
            assert Path(f"{path}.tbi").is_file()
    assert not [path for path in (pipeline / "work").rglob("*") if path.is_file()]


@needs_snakemake
@pytest.mark.timeout(900)
def test_killed_pipeline_goes_on_and_gives_the_same_bytes(
    pipeline: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pristine = tmp_path / "pristine"
    shutil.copytree(pipeline, pristine)
    began = time.monotonic()
    finish(pipeline, "call", "stages")
    whole = time.monotonic() - began
    expected = [(pipeline / f"{name}{s}").read_bytes() for name in RESULTS for s in ("", ".tbi")]
    source = random.Random(KILLS)
    for _ in range(KILLS):
        shutil.rmtree(pipeline)
        shutil.copytree(pristine, pipeline)
        process = start(pipeline, "call", "stages")
        time.sleep(source.uniform(0.1, 0.95) * whole)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        finish(pipeline, "call", "stages")
        got = [(pipeline / f"{name}{s}").read_bytes() for name in RESULTS for s in ("", ".tbi")]
        assert got == expected
    with capsys.disabled():
        print(f"\npipeline killed {KILLS} times, {KILLS} times the same bytes")


@needs_snakemake
@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("shards: 3", "shards: none", "config, shards: 'none' is not of type 'integer'"),
        ("threads: 1", "treads: 1", "'treads' was unexpected"),
        ("{reads:", "{raeds:", "config, samples.A: "),
        ("sample.bam", "absent.bam", "absent.bam does not exist"),
        ("ref.fa", "absent.fa", "absent.fa does not exist"),
        ("threads: 1", "par_regions: absent.bed", "absent.bed does not exist"),
        ("threads: 1", "gvcf: 'yes'", "config, gvcf: 'yes' is not of type 'boolean'"),
        ("[ctg2, 'ctg1:1-30,000']", "absent.bed", "absent.bed does not exist"),
    ],
)
def test_wrong_configurations_are_told(pipeline: Path, old: str, new: str, says: str) -> None:
    config = pipeline / "config" / "config.yaml"
    config.write_text(config.read_text().replace(old, new))
    lines = finish(pipeline, code=1).splitlines()
    assert len([line for line in lines if says in line and "correct config" in line]) == 1
    assert not (pipeline / "results").exists()


@needs_snakemake
def test_lint(pipeline: Path) -> None:
    finish(pipeline, "--lint")


def test_the_folder_is_complete(tmp_path: Path) -> None:
    config = run_workflow(tmp_path / "a" / "b")
    made = {path.relative_to(tmp_path / "a" / "b") for path in (tmp_path / "a" / "b").rglob("*")}
    assert made == {path.relative_to(SOURCE) for path in SOURCE.rglob("*")}
    assert config.is_file()


@pytest.mark.parametrize(
    "prepare", [lambda p: p.write_text("x"), lambda p: (p / "x").mkdir(parents=True)]
)
def test_other_folders_are_left_alone(tmp_path: Path, prepare: Callable[[Path], object]) -> None:
    prepare(tmp_path / "there")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(OutputError, match="not an empty folder"):
        run_workflow(tmp_path / "there")
    assert sorted(tmp_path.rglob("*")) == before


def test_an_empty_folder_is_filled(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert run_workflow(tmp_path / "empty").is_file()
