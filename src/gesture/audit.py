"""Say what a data set and a split really hold, before any training.

python -m gesture.audit data=synthetic split=subject
python -m gesture.audit data=folder data.root=photos audit.strict=true
python -m gesture.audit audit.manifest=leapgestrecog-manifest.csv
"""

from gesture.cli.command import entry_point
from gesture.config.schema import AuditConfig
from gesture.process import held_back
from gesture.runs.directory import RunDirectory


@entry_point("audit")
def main(config: AuditConfig) -> None:
    with held_back():
        from gesture.report import audited  # imports Matplotlib, which --help need not wait for

    audited.run(config, RunDirectory.of_hydra().path)


if __name__ == "__main__":
    main()
