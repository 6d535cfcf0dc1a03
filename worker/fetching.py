"""From a source that names an archive to that archive as a file on this machine.

Whatever kinds of archive sources there are differ here and nowhere else.
"""

from pathlib import Path

from jobs.dataset_spec import UploadSource
from worker.context import Context
from worker.failures import JobFailedError

FETCHING_SHARE = 0.0
"""Share of the whole import that is over when the archive is there."""


def local_archive(context: Context, source: UploadSource) -> Path:
    """The archive's file, which stays as it is while the import runs.

    Raises:
        JobFailedError: it cannot be had.
    """
    file = context.artifacts.upload_file(source.upload_id)
    if not file.is_file():
        raise JobFailedError(
            "source_unreachable",
            f"upload {source.upload_id} is not in the artifact store",
            "send the archive again, then register the dataset with the new upload",
        )
    return file
