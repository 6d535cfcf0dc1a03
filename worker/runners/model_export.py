"""Writes a model as a file for other programs."""

import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

from jobs import leases, models
from jobs.artifacts import published, sha256_of
from jobs.errors import NotFoundError
from jobs.models import Model
from jobs.spec import ModelExportSpec
from worker.context import Context, Ending
from worker.failures import JobFailedError


def run(context: Context) -> Ending:
    """The file exists beside the model's own, named by its digest.

    Raises:
        JobFailedError: the model was deleted.
        MlError: its file is damaged, or it does not fit into one of this format.
    """
    # a worker that only imports datasets never loads a tensor library
    from ml.model_file import load_model
    from ml.onnx_file import write_onnx

    spec = ModelExportSpec.model_validate(context.job.spec)
    model = _model(context, spec)
    context.tell(leases.enter_phase, "exporting")
    with TemporaryDirectory(dir=context.folder) as folder:
        file = Path(folder) / "model.onnx"
        write_onnx(file, *load_model(context.model_file(model)))
        target = context.artifacts.onnx_file(model.id, sha256_of(file))
        with published(target) as temporary:
            shutil.copyfile(file, temporary)
    context.artifacts.store.keep([target])
    _leave_nothing_behind(context, spec, target)
    return Ending(values={"result": {"size_bytes": target.stat().st_size}})


def _model(context: Context, spec: ModelExportSpec) -> Model:
    try:
        return models.get(context.database, spec.model)
    except NotFoundError as deleted:
        raise JobFailedError("not_found", f"model {spec.model} was deleted") from deleted


def _leave_nothing_behind(context: Context, spec: ModelExportSpec, file: Path) -> None:
    """What was written after its model was deleted is gone, too."""
    try:
        _model(context, spec)
    except JobFailedError:
        context.artifacts.remove(file)
        raise
