"""What is compared: each pair's two sides, as seconds (or MiB) of the same names."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench_peers import TUNED, Peers
from bench_service import EVALUATION, FINE_TUNE, LR_FIND, Service, stack_memory, training

from tunesmith_client import Json

SQUEEZENET, MOBILENET, RESNET = "squeezenet1_1", "mobilenet_v2", "resnet18"
EPOCHS = 3
SECOND_GROUP = {MOBILENET: 7}
"""Where the body is divided by us, in blocks, and not by fastai."""
FASTAI_RATES = [1e-5, 1e-5, 1e-3]
"""Peaks of its unfrozen phase where the body is not divided."""
OUR_SCRIPTS = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Photos:
    """A set of photos as both sides have it."""

    name: str
    folder: Path
    dataset: Json

    @property
    def facts(self) -> Json:
        """What readers of the results want to know."""
        return {"counts": self.dataset["counts"], "import_s": round(self.dataset["import_s"], 2)}


@dataclass(frozen=True, slots=True)
class Bench:
    """Both sides of all pairs."""

    service: Service
    peers: Peers
    weights: str
    quick: bool

    @property
    def epochs(self) -> int:
        """Unfrozen ones."""
        return 1 if self.quick else EPOCHS

    @property
    def find_steps(self) -> int:
        """Of the range test of a session: what both sides take by default."""
        return 20 if self.quick else 100

    @property
    def sweep_steps(self) -> int:
        """Of a range test in which the whole network trains."""
        return 8 if self.quick else 30

    def fastai(
        self,
        photos: Photos,
        arch: str,
        seed: int,
        *steps: str,
        tuned: bool = False,
        same_groups: bool = False,
    ) -> Json:
        """A session of fastai with these steps: seconds of each, MiB, loss and accuracy."""
        groups = ["--body-groups-at", str(SECOND_GROUP[arch])] if same_groups else []
        pretrained = ["--pretrained"] if self.weights != "none" and arch != RESNET else []
        told = self.peers.run(
            "fastai_session.py",
            *("--photos", str(photos.folder), "--arch", arch, "--seed", str(seed)),
            *("--epochs", str(self.epochs), "--sweep-steps", str(self.find_steps)),
            *(*pretrained, *groups, "--steps", *steps),
            environment=TUNED if tuned else None,
        )
        kept = {name: told[name] for name in ("valid_loss", "accuracy") if name in told}
        return {**told["seconds"], "peak_mib": told["peak_mib"], **kept}

    def training(self, photos: Photos, arch: str, seed: int, **changes: object) -> Json:
        """The body of a job of ours."""
        weights = self.weights if arch != RESNET else "none"
        return training(photos.dataset, arch, weights=weights, seed=seed, **changes)


Measure = Callable[[Bench, Photos, int], Json]


@dataclass(frozen=True, slots=True)
class Pair:
    """Two ways to the same end."""

    ours: Measure
    theirs: Measure
    on_every_set: bool = False
    """On each set of photos; else on the first one."""


# --- a session: find a rate, fine-tune, look at every loss ------------------------------------


def _our_session(bench: Bench, photos: Photos, seed: int) -> Json:
    service = bench.service
    service.forget_pixels()
    with stack_memory() as peak:
        found = service.run(
            LR_FIND, bench.training(photos, SQUEEZENET, seed, num_steps=bench.find_steps)
        )
        tuned = _fine_tuned(bench, photos, SQUEEZENET, seed)
        model = service.job(tuned.pop("job_id"))["model_id"]
        scored = service.run(EVALUATION, {"dataset": photos.dataset["id"], "model": model})
    return {
        "lr_find": found.total_s,
        **tuned,
        "samples": scored.total_s,
        "peak_mib": round(peak.mib),
    }


def _fine_tuned(bench: Bench, photos: Photos, arch: str, seed: int, **changes: object) -> Json:
    body = bench.training(photos, arch, seed, epochs=bench.epochs, **changes)
    job = bench.service.run(FINE_TUNE, body)
    latest = bench.service.job(job.job_id)["latest"]
    return {
        "fine_tune": job.total_s,
        "job_id": job.job_id,
        "valid_loss": latest["valid_loss"],
        "accuracy": latest["accuracy"],
    }


def _their_session(bench: Bench, photos: Photos, seed: int) -> Json:
    return bench.fastai(photos, SQUEEZENET, seed, "lr_find", "fine_tune", "samples")


# --- a fine-tune alone ------------------------------------------------------------------------


def _our_fine_tune(arch: str, **changes: object) -> Measure:
    def measure(bench: Bench, photos: Photos, seed: int) -> Json:
        bench.service.forget_pixels()
        with stack_memory() as peak:
            tuned = _fine_tuned(bench, photos, arch, seed, **changes)
        tuned.pop("job_id")
        return {**tuned, "peak_mib": round(peak.mib)}

    return measure


def _their_fine_tune(arch: str, **how: bool) -> Measure:
    return lambda bench, photos, seed: bench.fastai(photos, arch, seed, "fine_tune", **how)


# --- steps of training, and of a range test ---------------------------------------------------


def _our_unfrozen_images(bench: Bench, photos: Photos, seed: int) -> Json:
    steps = photos.dataset["counts"]["train"] // 32
    body = bench.training(photos, SQUEEZENET, seed, epochs=2, freeze_epochs=0)
    job = bench.service.run(FINE_TUNE, body)
    return {"seconds_per_1000_images": job.phase("unfrozen").seconds / (2 * steps * 32) * 1000}


def _torchvision_images(bench: Bench, photos: Photos, seed: int) -> Json:
    told = bench.peers.run(
        "torchvision_loop.py",
        *("--photos", str(photos.folder), "--seed", str(seed)),
        *("--epochs", "1" if bench.quick else "2"),
    )
    return {"seconds_per_1000_images": told["seconds"] / told["images"] * 1000}


def _batches(script: str, *, ours: bool) -> Measure:
    def measure(bench: Bench, photos: Photos, seed: int) -> Json:
        side = Peers(Path(sys.executable), OUR_SCRIPTS) if ours else bench.peers
        told = side.run(script, "--photos", str(photos.folder), "--seed", str(seed))
        return {"seconds_per_1000_images": told["seconds"] / told["images"] * 1000}

    return measure


def _our_sweep_step(bench: Bench, photos: Photos, seed: int) -> Json:
    steps = bench.sweep_steps
    # it may not stop early, as theirs does, since it counts by its own steps
    body = bench.training(photos, SQUEEZENET, seed, sweep="all", num_steps=steps, end_lr=1e-3)
    job = bench.service.run(LR_FIND, body)
    done = bench.service.job(job.job_id)["progress"]["step"]
    return {"seconds_per_step": job.phase("sweeping").seconds / done}


def _their_sweep_step(finder: str) -> Measure:
    def measure(bench: Bench, photos: Photos, seed: int) -> Json:
        told = bench.peers.run(
            "lr_finders.py",
            *("--photos", str(photos.folder), "--finder", finder),
            *("--steps", str(bench.sweep_steps), "--seed", str(seed)),
        )
        return {"seconds_per_step": told["seconds"] / told["steps"]}

    return measure


PAIRS = {
    "session": Pair(_our_session, _their_session, on_every_set=True),
    "fine-tune, fastai with a tuned allocator": Pair(
        _our_fine_tune(SQUEEZENET), _their_fine_tune(SQUEEZENET, tuned=True)
    ),
    "fine-tune squeezenet1_1": Pair(
        _our_fine_tune(SQUEEZENET), _their_fine_tune(SQUEEZENET), on_every_set=True
    ),
    "fine-tune mobilenet_v2": Pair(
        _our_fine_tune(MOBILENET), _their_fine_tune(MOBILENET), on_every_set=True
    ),
    "fine-tune mobilenet_v2, fastai with our layer groups": Pair(
        _our_fine_tune(MOBILENET),
        _their_fine_tune(MOBILENET, same_groups=True),
        on_every_set=True,
    ),
    "fine-tune mobilenet_v2, ours with fastai's rates": Pair(
        _our_fine_tune(MOBILENET, learning_rate={"per_group": FASTAI_RATES}),
        _their_fine_tune(MOBILENET),
        on_every_set=True,
    ),
    "resnet18": Pair(_our_fine_tune(RESNET), _their_fine_tune(RESNET)),
    "batches of a later epoch, one core": Pair(
        _batches("our_batches.py", ours=True), _batches("fastai_batches.py", ours=False)
    ),
    "torchvision loop": Pair(_our_unfrozen_images, _torchvision_images),
    "torch-lr-finder": Pair(_our_sweep_step, _their_sweep_step("torch-lr-finder")),
    "lightning": Pair(_our_sweep_step, _their_sweep_step("lightning")),
}

QUICK = ("session", "torchvision loop", "torch-lr-finder", "lightning")
"""One pair with each peer."""
