"""The batch scripts, compared whole, and what decides single lines."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path

import pytest

from manager.cluster.slurm_after import is_running
from manager.cluster.slurm_arrays import compact_ids
from manager.cluster.slurm_sbatch import is_refusal
from manager.cluster.slurm_script import ScriptRequest, job_name, sbatch_variables, script, write_work
from manager.cluster.slurm_site import Container, Site
from manager.errors import UserError
from manager.job import Resources

REQUEST = ScriptRequest(
    token="m0123456789abcde",
    sweep="interventional",
    stage="train",
    resources=Resources(nodes=2, gpus_per_node=8, cpus_per_task=12, memory_gb=900, time_min=1440),
    folder=Path("/store/submissions/m0123456789abcde"),
    code=Path("/store/code/abcdef"),
    array="0-11%4",
    dependency="aftercorr:77",
    exclude=("node13",),
    intent={"token": "m0123456789abcde", "tasks": {"0": "aa"}},
)
SITE = Site(
    name="alpha",
    partition="gpu",
    account="lab",
    qos="high",
    constraint="h100",
    gres="gpu:h100:{gpus}",
    python="/venv/bin/python",
    setup=("module load cuda",),
    env={"NCCL_DEBUG": "WARN", "HF_HOME": "/my data/hf"},
    scratch="/local/$SLURM_JOB_ID",
    sbatch={"mail-type": "END"},
)

GOLDEN = """\
#!/bin/bash

# Parameters
#SBATCH --account=lab
#SBATCH --array=0-11%4
#SBATCH --chdir=/store/code/abcdef
#SBATCH --comment='manager m0123456789abcde'
#SBATCH --constraint=h100
#SBATCH --cpus-per-task=12
#SBATCH --dependency=aftercorr:77
#SBATCH --error=/store/submissions/m0123456789abcde/%A_%a_0_log.err
#SBATCH --exclude=node13
#SBATCH --gres=gpu:h100:8
#SBATCH --job-name=interventional.train.m0123456789abcde
#SBATCH --kill-on-invalid-dep=yes
#SBATCH --mail-type=END
#SBATCH --mem=900GB
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=8
#SBATCH --open-mode=append
#SBATCH --output=/store/submissions/m0123456789abcde/%A_%a_0_log.out
#SBATCH --partition=gpu
#SBATCH --qos=high
#SBATCH --requeue
#SBATCH --signal=USR2@180
#SBATCH --time=1440

# setup
ln -sfn work.pkl /store/submissions/m0123456789abcde/${SLURM_ARRAY_JOB_ID}_${SLURM_ARRAY_TASK_ID}_submitted.pkl
rm -f /store/submissions/m0123456789abcde/${SLURM_ARRAY_JOB_ID}_${SLURM_ARRAY_TASK_ID}_*_result.pkl.save_tmp
module load cuda
export HF_HOME='/my data/hf'
export NCCL_DEBUG=WARN
export TMPDIR="/local/$SLURM_JOB_ID"
mkdir -p "$TMPDIR"
export PYTHONPATH=/store/code/abcdef${PYTHONPATH:+:$PYTHONPATH}

# command
export SUBMITIT_EXECUTOR=slurm
srun --unbuffered --output /store/submissions/m0123456789abcde/%A_%a_%t_log.out \
--error /store/submissions/m0123456789abcde/%A_%a_%t_log.err --kill-on-bad-exit=1 --cpus-per-task=12 \
/venv/bin/python -u -m submitit.core._submit /store/submissions/m0123456789abcde


# teardown
code=$?
[ $code -eq 0 ] && exit 0
for pause in 1 3 9 0; do
  told=$(timeout 60 scontrol show job --oneliner ${SLURM_ARRAY_JOB_ID}_${SLURM_ARRAY_TASK_ID}) && break; sleep $pause
done
printf %s "$told" | /venv/bin/python -m manager.cluster.slurm_after /store m0123456789abcde $code; verdict=$?
if [ $verdict -eq 0 ] || [ $verdict -eq 4 ]; then
  [ ! -e /store/submissions/m0123456789abcde/avoid-${SLURM_ARRAY_JOB_ID}_${SLURM_ARRAY_TASK_ID} ] || \
while read -r id nodes; do
    timeout 60 scontrol update jobid=$id excnodelist=$nodes
  done </store/submissions/m0123456789abcde/avoid-${SLURM_ARRAY_JOB_ID}_${SLURM_ARRAY_TASK_ID}
  trap '' TERM
  for pause in 1 3 9 0; do
    timeout 60 scontrol requeue ${SLURM_ARRAY_JOB_ID}_${SLURM_ARRAY_TASK_ID} && break; sleep $pause
  done
  [ $verdict -ne 4 ] || for pause in 0.2 0.5 1 9 0; do
    timeout 60 scontrol update jobid=${SLURM_ARRAY_JOB_ID}_${SLURM_ARRAY_TASK_ID} \
excnodelist=node13,$SLURMD_NODENAME && break; sleep $pause
  done
fi
exit $code
# intent: {"token":"m0123456789abcde","tasks":{"0":"aa"}}
"""


def test_the_whole_script_of_a_multi_node_stage() -> None:
    assert script(REQUEST, SITE) == GOLDEN


def test_a_site_that_says_nothing_leaves_everything_to_slurm() -> None:
    text = script(replace(REQUEST, resources=Resources(), dependency=None, exclude=()), Site())
    for option in ("partition", "time", "mem", "gres", "gpus", "dependency", "wckey", "exclude", "cpus"):
        assert f"#SBATCH --{option}" not in text


def test_without_arrays_the_pickle_is_linked_under_the_jobs_own_id() -> None:
    text = script(replace(REQUEST, array=None), SITE)
    assert "--array" not in text
    assert "/${SLURM_JOB_ID}_submitted.pkl" in text
    assert "%j_0_log.out" in text


def test_containers_get_the_store_and_start_their_own_python() -> None:
    apptainer = replace(SITE, container=Container("apptainer", "/i.sif", ("/data:/data",), options=("--cleanenv",)))
    assert (
        "apptainer exec --nv --bind=/store:/store --bind=/data:/data --cleanenv /i.sif python3 -u -m submitit"
        in script(REQUEST, apptainer)
    )
    pyxis = replace(SITE, container=Container("pyxis", "lab/train:1", ("/data:/data",)))
    text = script(REQUEST, pyxis)
    assert "--container-image=lab/train:1 --container-mounts=/store:/store,/data:/data python3 -u -m submitit" in text


def test_options_of_a_stage_are_passed_on_and_an_unknown_one_is_told() -> None:
    own = {"qos": "low", "srun_args": ["--mpi=pmix"], "additional_parameters": {"reservation": "r1"}}
    text = script(replace(REQUEST, resources=Resources(slurm=own)), SITE)
    assert "#SBATCH --qos=low" in text
    assert "#SBATCH --reservation=r1" in text
    assert "--kill-on-bad-exit=1 --mpi=pmix" in text
    message = r"stage train: resources\.slurm: 'partitoin' is not an option of submitit; valid: .*partition"
    with pytest.raises(UserError, match=message):
        script(replace(REQUEST, resources=Resources(slurm={"partitoin": "x"})), SITE)


def test_names_are_plain_short_and_keep_the_token() -> None:
    name = job_name("my sweep|x", "train", "m0123456789abcde")
    assert name == "my_sweep_x.train.m0123456789abcde"
    assert job_name("x" * 200, "train", "m0123456789abcde").endswith(".m0123456789abcde")


def test_variables_of_the_shell_do_not_override_the_site() -> None:
    assert sbatch_variables(REQUEST, SITE) == ["SBATCH_ACCOUNT", "SBATCH_PARTITION", "SBATCH_QOS"]
    assert sbatch_variables(REQUEST, Site()) == []


def test_the_pickle_holds_two_texts(tmp_path: Path) -> None:
    write_work(tmp_path, Path("/store"), "m0123456789abcde")
    data = (tmp_path / "work.pkl").read_bytes()
    work = pickle.loads(data)
    assert (work.function.store, work.function.token) == ("/store", "m0123456789abcde")
    assert len(data) < 500


@pytest.mark.parametrize(
    ("code", "said", "refused"),
    [
        (1, "Batch job submission failed: Invalid partition name specified", True),
        (1, "Batch job submission failed: Job violates accounting/QOS policy (job submit limit)", True),
        (1, "Batch job submission failed: Socket timed out on send/recv operation", False),
        (1, "Unable to contact slurm controller (connect failure)", False),
        (1, "Batch job submission failed: Zero Bytes were transmitted or received", False),
        (None, "sbatch: no answer within 60 s", False),
    ],
)
def test_a_lost_answer_is_no_refusal(code: int | None, said: str, refused: bool) -> None:
    assert is_refusal(code, said) is refused


def test_many_tasks_are_one_name_for_scancel() -> None:
    assert compact_ids(["12_3", "12_4", "9", "12_7", "13_0"]) == ["9", "12_[3-4,7]", "13_[0]"]


def test_only_a_job_that_still_counts_as_running_may_requeue_itself() -> None:
    assert is_running("JobId=1 JobName=x JobState=RUNNING Reason=None PreemptTime=2026-11-20T23:20:07")
    assert not is_running("JobId=1 JobName=x JobState=COMPLETING Reason=None Requeue=1 Restarts=1")
    assert not is_running("JobId=1 JobState=CANCELLED")
    assert not is_running("")
