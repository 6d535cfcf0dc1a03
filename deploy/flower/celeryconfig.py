"""What Flower needs to know of the broker; the service's own settings are in `jobs.queue`."""

from kombu import Queue

broker_url = "redis://redis:6379/0"
broker_transport_options = {"global_keyprefix": "tunesmith:"}
task_queues = [Queue(name) for name in ("train", "prepare", "predict")]
