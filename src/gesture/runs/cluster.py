"""The job of a cluster that a process belongs to, which may begin again on another host."""

import os
import socket
from typing import Any


def this_job() -> dict[str, Any] | None:
    """The job's identity, and how often it has begun where its cluster counts; None outside of one.

    Slurm has a number for each job and each task of an array, and keeps it when it queues the job again (sbatch(1)).
    Kubernetes tells each pod of an Indexed Job its index; the job's name is told by its manifest, as JOB_NAME.
    """
    told = os.environ
    if "SLURM_JOB_ID" in told:
        return {"id": f"slurm {told['SLURM_JOB_ID']}", "beginnings": int(told.get("SLURM_RESTART_COUNT", 0)) + 1}
    if "JOB_NAME" in told and "JOB_COMPLETION_INDEX" in told:
        return {"id": f"kubernetes {told['JOB_NAME']} {told['JOB_COMPLETION_INDEX']}", "beginnings": None}
    return None


def began_again_since(process: dict[str, Any]) -> bool:
    """Whether this process belongs to another beginning of the same job than a recorded process, which is no more then.

    A cluster ends a job before it begins again. Where beginnings are not counted it is another if it is elsewhere: an
    Indexed Job has one pod for an index.
    """
    job, own = process.get("job"), this_job()
    if own is None or not isinstance(job, dict) or job.get("id") != own["id"]:
        return False
    if own["beginnings"] is None:
        return bool(process.get("host") != socket.gethostname())
    return isinstance(job.get("beginnings"), int) and job["beginnings"] != own["beginnings"]
